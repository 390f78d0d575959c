# Test guests: guest-tests/NAME.c, with NAME.asm where there is one, and the runtime make
# $(BUILD)/guests/NAME.elf. SPDX-License-Identifier: BSD-2-Clause

GUEST_OBJ     := $(BUILD)/guests/obj
GUEST_NAMES   := $(patsubst guest-tests/%.c,%,$(wildcard guest-tests/*.c))
GUEST_ELVES   := $(GUEST_NAMES:%=$(BUILD)/guests/%.elf)
GUEST_ASM     := $(patsubst guest-tests/%.asm,%,$(wildcard guest-tests/*.asm))
GUEST_RUNTIME := $(patsubst %.c,$(GUEST_OBJ)/%.o,$(wildcard guest-tests/runtime/*.c) \
	lib/format.c lib/string.c) \
	$(patsubst %.asm,$(GUEST_OBJ)/%.asm.o,$(wildcard guest-tests/runtime/*.asm))
GUEST_LINK    := guest-tests/runtime/linker.ld
OBJCOPY       ?= objcopy

STRANGERS     := $(BUILD)/guests/tick32.elf $(BUILD)/guests/tick64.elf

.PHONY: guests
guests: $(GUEST_ELVES) $(STRANGERS)

$(GUEST_OBJ)/%.o: %.c Makefile guest-tests/guests.mk
	@mkdir -p $(@D)
	$(CC) $(FREE) -O2 -mcmodel=small -c -o $@ $<

$(GUEST_OBJ)/%.asm.o: %.asm guest-tests/guests.mk
	@mkdir -p $(@D)
	$(NASM) -f elf64 -g -Werror -I. -MD $(@:.o=.d) -MP -MT $@ -o $@ $<

$(GUEST_ASM:%=$(BUILD)/guests/%.elf64): $(BUILD)/guests/%.elf64: \
	$(GUEST_OBJ)/guest-tests/%.asm.o

# A guest of several files has the others in a directory of its name.
GUEST_MORE    := $(patsubst %.c,$(GUEST_OBJ)/%.o,$(wildcard guest-tests/hostile/*.c))
$(BUILD)/guests/hostile.elf64: $(GUEST_MORE)

$(BUILD)/guests/%.elf64: $(GUEST_OBJ)/guest-tests/%.o $(GUEST_RUNTIME) $(GUEST_LINK)
	@mkdir -p $(@D)
	$(CC) -nostdlib -static -Wl,-T,$(GUEST_LINK),-z,noexecstack,-z,max-page-size=4096 \
		-Wl,--build-id=none -o $@ $(filter %.o,$^)

# A kernel of its own, in two forms: nothing is shared with the guests above.
STRANGER_C := $(wildcard guest-tests/stranger/*.c)
STRANGER_H := $(wildcard guest-tests/stranger/*.h)
$(STRANGERS): $(BUILD)/guests/tick%.elf: $(STRANGER_C) $(STRANGER_H) guest-tests/stranger/boot%.S \
		guest-tests/stranger/link.ld guest-tests/guests.mk
	@mkdir -p $(@D)
	$(CC) -m$* -std=gnu11 -O2 -Wall -Wextra -Wno-interrupt-service-routine $(LINT) \
		-ffreestanding -fno-pic -nostdlib -static \
		-fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone \
		-mgeneral-regs-only -Wl,-T,guest-tests/stranger/link.ld,--build-id=none,-z,noexecstack \
		-Wl,-z,max-page-size=4096,--no-warn-rwx-segments -o $@ $(STRANGER_C) guest-tests/stranger/boot$*.S

# QEMU's -kernel takes only ELF32 where the multiboot header has no address fields.
$(BUILD)/guests/%.elf: $(BUILD)/guests/%.elf64
	$(OBJCOPY) -O elf32-i386 $< $@
