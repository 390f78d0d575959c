# nosnoop: builds the hypervisor, its loader, its test guests and its host tests.
# SPDX-License-Identifier: BSD-2-Clause
.SUFFIXES:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON   ?= /usr/bin/python3
CC       := gcc
HOST_CC  := gcc
NASM     := nasm
BUILD    ?= build
LINT     := # make lint adds -Werror

# Files of Debian's packages, all in this one place; tools/nosnoop/paths.py hands them to the scripts.
EFI_INCLUDE ?= /usr/include/efi
EFI_LIB     ?= /usr/lib
export PYTHON BUILD

# Every target but clean begins by installing what is missing, before a compiler is asked anything.
ifneq ($(filter-out clean,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell tools/deps 1>&2 && echo done),done)
$(error tools/deps did not find or install all packages)
endif
endif

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-align \
	-Wcast-qual -Wformat=2 -Wmissing-prototypes -Wmissing-declarations -Wstrict-prototypes \
	-Wold-style-definition -Wpointer-arith -Wredundant-decls -Wundef -Wvla -Wwrite-strings \
	-Wdate-time -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wframe-larger-than=1024

COMMON  := -std=c11 -g -I. $(WARNINGS) $(LINT) -MMD -MP
FREE     =  $(COMMON) -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include) \
	-fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing \
	-fcf-protection=none -mno-red-zone -mgeneral-regs-only -fno-omit-frame-pointer
OPTIMIZE := -Os -fno-optimize-sibling-calls
KERNEL   = $(FREE) $(OPTIMIZE) -mcmodel=kernel

.PHONY: all clean
all: $(BUILD)/nosnoop.elf $(BUILD)/BOOTX64.EFI guests

# Files that run at every exit are compiled for speed, those with most to gain for most of it, and
# the rest for size. Nothing is padded to be aligned.
HOT := mm/mtrr vmm/typing/views vmx/run vmx/state \
	$(addprefix vmm/vcpu/,access cr decode interrupts io run) \
	$(addprefix vmm/devices/,devices i8259 ioapic lapic pit)
UNPADDED := -falign-functions=1 -falign-loops=1 -falign-jumps=1 -falign-labels=1 \
	-Wno-ignored-optimization-argument # clang: of the last two
HOTTEST := vmm/vcpu/advance vmm/vcpu/walk vmm/vcpu/cpuid vmm/vcpu/msr svm/run svm/state
# The same for a kernel of tests/kernel/kernel.mk.
compiled = $(1:%=$(BUILD)/kernel/%.o) $(1:%=$(BUILD)/untraced/%.o)
$(call compiled,$(HOT)): OPTIMIZE := -O2 $(UNPADDED)
$(call compiled,$(HOTTEST)): OPTIMIZE := -O3 $(UNPADDED)

# --- the kernel: linked twice, the second time with the first one's symbol table ----------------
KERNEL_C   := $(wildcard boot/*.c vmm/*.c vmm/*/*.c svm/*.c vmx/*.c mm/*.c drivers/*.c lib/*.c)
KERNEL_ASM := $(wildcard boot/*.asm vmm/*/*.asm svm/*.asm vmx/*.asm)
KERNEL_OBJ := $(KERNEL_C:%.c=$(BUILD)/kernel/%.o) $(KERNEL_ASM:%.asm=$(BUILD)/kernel/%.asm.o)
KERNEL_LD  := ld -nostdlib -z max-page-size=4096 -z noexecstack -no-pie -T linker.ld

VERSION := 0.1
GIT     := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

$(BUILD)/gen/version.h: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '#define NOSNOOP_VERSION "$(VERSION)"' '#define NOSNOOP_GIT "$(GIT)"' \
		"#define NOSNOOP_BUILD \"$$(cat $(KERNEL_C) $(KERNEL_ASM) vmm/devices/dsdt.asl linker.ld | sha1sum | cut -c1-8)\"" \
		> $@.new
	@cmp -s $@.new $@ || mv $@.new $@
	@rm -f $@.new

.PHONY: FORCE
FORCE:

$(BUILD)/kernel/vmm/start.o: $(BUILD)/gen/version.h

$(BUILD)/kernel/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(KERNEL) -I$(BUILD)/gen -c -o $@ $<

$(BUILD)/kernel/%.asm.o: %.asm boot/entry.inc Makefile
	@mkdir -p $(@D)
	$(NASM) -f elf64 -g -w+all -w-number-overflow -i$(BUILD)/gen/ -o $@ $<

# What guests find as their DSDT.
$(BUILD)/kernel/vmm/devices/dsdt.asm.o: $(BUILD)/gen/dsdt.aml
$(BUILD)/gen/dsdt.aml: vmm/devices/dsdt.asl Makefile
	@mkdir -p $(@D)
	iasl -we -p $(BUILD)/gen/dsdt $< > $@.log 2>&1 || { cat $@.log; exit 1; }

$(BUILD)/kernel/none.asm.o: tools/symbols
	@mkdir -p $(@D)
	tools/symbols > $(BUILD)/kernel/none.asm
	$(NASM) -f elf64 -o $@ $(BUILD)/kernel/none.asm

$(BUILD)/kernel/unnamed.elf: $(KERNEL_OBJ) $(BUILD)/kernel/none.asm.o linker.ld
	$(KERNEL_LD) -o $@ $(filter %.o,$^)

$(BUILD)/nosnoop.elf: $(BUILD)/kernel/unnamed.elf
	tools/symbols $< > $(BUILD)/kernel/symbols.asm
	$(NASM) -f elf64 -o $(BUILD)/kernel/symbols.asm.o $(BUILD)/kernel/symbols.asm
	$(KERNEL_LD) -o $@ $(KERNEL_OBJ) $(BUILD)/kernel/symbols.asm.o

-include guest-tests/guests.mk boot/efi/efi.mk

include tests/kernel/kernel.mk

# --- host tests: the same C files, linked into a process -------------------------------------
# HOST_SRC: every file that also compiles for the host. tests/unit/test_*.c are cmocka programs
# that link with all of them (and with tests/unit/host.c, which gives them log and assert).
HOST_SRC := $(wildcard mm/*.c boot/*.c drivers/pci*.c drivers/iommu*.c drivers/vtd*.c \
	drivers/amdvi*.c vmm/devices/vpci*.c vmm/devices/platform*.c) lib/format.c boot/efi/elf.c \
	$(addprefix drivers/,acpi.c firmware.c mptable.c dmar.c ivrs.c) \
	$(addprefix vmm/,config.c config_check.c image.c) \
	$(addprefix vmm/host/,clock.c rate.c) \
	$(addprefix vmm/vcpu/,cpuid_table.c decode.c event.c walk.c) \
	$(addprefix vmm/typing/,policy.c presets.c sharing.c typing.c) \
	$(addprefix vmm/devices/,fwcfg.c i8259.c ioapic.c lapic.c legacy.c pit.c pmtimer.c rtc.c uart.c) \
	$(addprefix vmm/passthrough/,assign.c coherence.c intx_route.c places.c) \
	$(addprefix vmm/instruments/,alias.c line.c) \
	svm/caps.c svm/npt.c svm/types.c $(addprefix vmx/,caps.c check.c ept.c fields.c types.c)
HOST_OBJ := $(HOST_SRC:%.c=$(BUILD)/host/%.o) $(BUILD)/host/tests/unit/host.o
UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
# A sanitizer reports lines, and no more.
HOST     := $(COMMON) -g1 -O1 -fsanitize=address,undefined -fno-sanitize-recover=all

# The devices' second models, cycle by cycle, ten million operations each: what they are compared
# with is checked, and they are fast.
MODELS := fwcfg i8259 ioapic pit pmtimer rtc uart
$(MODELS:%=$(BUILD)/host/tests/unit/test_%.o): HOST := $(COMMON) -g1 -O2

$(BUILD)/host/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(HOST_CC) $(HOST) -c -o $@ $<

$(BUILD)/unit/%: $(BUILD)/host/tests/unit/%.o $(HOST_OBJ)
	@mkdir -p $(@D)
	$(HOST_CC) -fsanitize=address,undefined -o $@ $^ -lcmocka $(UNIT_LIBS)

# The fuzzers' corpora, each input once: test_corpus_NAME.
CORPORA := $(patsubst tests/corpus/%/,$(BUILD)/unit/test_corpus_%,$(wildcard tests/corpus/*/))
UNIT    += $(CORPORA)
$(CORPORA): $(BUILD)/unit/test_corpus_%: $(BUILD)/host/tests/fuzz/fuzz_%.o \
		$(BUILD)/host/tests/fuzz/replay.o $(HOST_OBJ)
	@mkdir -p $(@D)
	$(HOST_CC) -fsanitize=address,undefined -o $@ $^ -lcmocka -lZydis

# The decoder is compared with Zydis, by the fuzzer's own comparison; so are operands' addresses.
$(BUILD)/unit/test_decode: $(BUILD)/host/tests/fuzz/fuzz_decode.o
$(BUILD)/unit/test_operand: $(BUILD)/host/vmm/vcpu/access.o $(BUILD)/host/vmm/vcpu/hole.o
$(BUILD)/unit/test_decode $(BUILD)/unit/test_operand: UNIT_LIBS := -lZydis
$(BUILD)/unit/test_platform: $(BUILD)/kernel/vmm/devices/dsdt.asm.o
$(BUILD)/unit/test_passed_irq: $(BUILD)/host/vmm/host/irq.o $(BUILD)/host/vmm/passthrough/passed_irq.o
# The table of exceptions is made of absolute addresses.
$(BUILD)/unit/test_msr: UNIT_LIBS := -no-pie
# Other CPUs may come between while types are asked for.
$(BUILD)/unit/test_views: UNIT_LIBS := -Wl,--wrap=mtrr_type

.PHONY: unit
unit: $(UNIT)
.SECONDARY:

# --- what a user runs --------------------------------------------------------------------------
.PHONY: run test test-long bench image lint fuzz soak memmap policies
run: all
	@tools/run --bed svm --door uefi --device edu --iommu no-snoop --set control=yes \
		$(BUILD)/guests/buffers.elf && \
		echo 'PASS: DMA that does not snoop, through buffers of each type' || \
		{ echo "FAIL: the guest buffers: status $$?"; exit 1; }

test: all unit
	@tools/test

test-long: all unit
	@tools/test --long

image: all
	@tools/image

bench: all
	@tools/bench

# Pictures of memory maps, of both vendors: build/memmap/NAME-BED.svg, and tables beside them.
memmap: all
	@tools/memmap

# One guest under everybody's rules, beside bare metal: build/policies/policies.svg, .txt and .csv.
policies: all
	@tools/policies

lint:
	@tools/lint

# Half an hour: SOAK_OPS=N operations in all, on both vendors; SOAK_SEED=N repeats a run. Before it
# the models of devices are compared with their second ones for longer than a test does.
export SOAK_OPS SOAK_SEED
soak: all $(MODELS:%=$(BUILD)/unit/test_%)
	@for program in $(filter $(BUILD)/unit/%,$^); do \
		DEVICE_OPS=20000000 $$program || exit 1; \
	done
	@tools/soak

# Sixty seconds for each fuzzer, with every sanitizer; FUZZ_SECONDS=N for more. FUZZ_RUNS=N: N
# executions of each instead, of a faster build. One of them alone: make fuzz-decode.
FUZZ_SECONDS ?= 60
FUZZ_RUNS    ?=
FUZZ_BUILD   := $(BUILD)/fuzz/$(if $(FUZZ_RUNS),fast,checked)
FUZZ_NAMES   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SRC     := $(HOST_SRC) tests/unit/host.c
FUZZ_HEADERS := $(wildcard tests/fuzz/*.h tests/unit/*.h boot/*.h boot/efi/*.h lib/*.h mm/*.h \
	vmm/*.h vmm/*/*.h svm/*.h vmx/*.h drivers/*.h)
$(BUILD)/fuzz/checked/%: FUZZ_FLAGS := -O1 -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all
$(BUILD)/fuzz/fast/%: FUZZ_FLAGS := -O2 -fsanitize=fuzzer,undefined \
	-fsanitize-undefined-trap-on-error -fno-sanitize-coverage=trace-cmp

$(FUZZ_NAMES:%=$(FUZZ_BUILD)/%): $(FUZZ_BUILD)/%: tests/fuzz/fuzz_%.c $(FUZZ_SRC) $(FUZZ_HEADERS) \
		Makefile
	@mkdir -p $(@D)
	clang -std=c11 -g -I. $(FUZZ_FLAGS) -o $@ $< $(FUZZ_SRC) -lcmocka -lZydis

.PHONY: $(FUZZ_NAMES:%=fuzz-%)
$(FUZZ_NAMES:%=fuzz-%): fuzz-%: $(FUZZ_BUILD)/%
	@tests/fuzz/run $< "$(FUZZ_SECONDS)" "$(FUZZ_RUNS)"

fuzz: $(FUZZ_NAMES:%=fuzz-%)

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
