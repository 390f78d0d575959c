# Kernels for tests: the kernel's objects, one function of them wrapped by a file of tests/kernel/.
# That file comes last, so that the kernel's symbol table holds here too.
# SPDX-License-Identifier: BSD-2-Clause
all: $(BUILD)/vmx-rules.elf

$(BUILD)/vmx-rules.elf: $(BUILD)/kernel/tests/kernel/vmx_rules.o $(BUILD)/nosnoop.elf
	$(KERNEL_LD) --wrap=vmx_run -o $@ $(KERNEL_OBJ) $(BUILD)/kernel/symbols.asm.o $<
