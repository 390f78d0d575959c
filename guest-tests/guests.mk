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

.PHONY: guests
guests: $(GUEST_ELVES)

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

# QEMU's -kernel takes only ELF32 where the multiboot header has no address fields.
$(BUILD)/guests/%.elf: $(BUILD)/guests/%.elf64
	$(OBJCOPY) -O elf32-i386 $< $@
