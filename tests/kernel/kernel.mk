# Kernels for tests: the kernel's objects, but for what stands here.
# SPDX-License-Identifier: BSD-2-Clause
all: $(BUILD)/vmx-rules.elf $(BUILD)/untraced/nosnoop.elf

# One function is wrapped by a file of tests/kernel/. That comes last, so that the kernel's symbol
# table holds here too.
$(BUILD)/vmx-rules.elf: $(BUILD)/kernel/tests/kernel/vmx_rules.o $(BUILD)/nosnoop.elf
	$(KERNEL_LD) --wrap=vmx_run -o $@ $(KERNEL_OBJ) $(BUILD)/kernel/symbols.asm.o $<

# Without a trace: tools/bench tells what the kernel's costs while it is off.
TRACED   := $(shell grep -lE 'trace_is_on|\<trace[^ ._a-z]' $(filter-out vmm/instruments/trace.c,$(KERNEL_C)))
UNTRACED := $(TRACED:%.c=$(BUILD)/untraced/%.o)

$(UNTRACED): $(BUILD)/untraced/%.o: %.c tests/kernel/untraced.h Makefile
	@mkdir -p $(@D)
	$(CC) $(KERNEL) -include tests/kernel/untraced.h -c -o $@ $<

$(BUILD)/untraced/nosnoop.elf: $(UNTRACED) $(BUILD)/kernel/unnamed.elf
	$(KERNEL_LD) -o $@ $(filter-out $(TRACED:%.c=$(BUILD)/kernel/%.o),$(KERNEL_OBJ)) $(UNTRACED) \
		$(BUILD)/kernel/none.asm.o
