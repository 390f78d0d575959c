# The UEFI loader: $(BUILD)/BOOTX64.EFI, a gnu-efi PE application.
# SPDX-License-Identifier: BSD-2-Clause
OBJCOPY ?= objcopy

EFI_SRC := $(wildcard boot/efi/*.c) boot/info.c boot/efi_map.c vmm/config.c \
	lib/format.c lib/string.c
EFI_OBJ := $(EFI_SRC:%.c=$(BUILD)/efi/%.o)

EFI_CFLAGS = $(COMMON) -O2 -ffreestanding -nostdinc \
	-isystem $(shell $(CC) -print-file-name=include) \
	-isystem $(EFI_INCLUDE) -isystem $(EFI_INCLUDE)/x86_64 -DGNU_EFI_USE_MS_ABI -fshort-wchar \
	-fpic -fvisibility=hidden -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fno-strict-aliasing -fcf-protection=none -mno-red-zone -mgeneral-regs-only
EFI_LDFLAGS = -nostdlib -shared -Wl,-Bsymbolic,-znocombreloc,--no-undefined,--build-id=none \
	-Wl,-T,$(EFI_LIB)/elf_x86_64_efi.lds

$(BUILD)/efi/%.o: %.c Makefile boot/efi/efi.mk
	@mkdir -p $(@D)
	$(CC) $(EFI_CFLAGS) -c -o $@ $<

$(BUILD)/efi/loader.so: $(EFI_OBJ)
	$(CC) $(EFI_LDFLAGS) -o $@ $(EFI_LIB)/crt0-efi-x86_64.o $^ -L$(EFI_LIB) -lgnuefi

# The sections that gnu-efi's start-up needs to relocate itself; debug information stays behind.
$(BUILD)/BOOTX64.EFI: $(BUILD)/efi/loader.so
	$(OBJCOPY) --target=efi-app-x86_64 -j .text -j .sdata -j .data -j .dynamic -j .dynsym -j .rel \
		-j .rela -j '.rel.*' -j '.rela.*' -j .reloc $< $@
