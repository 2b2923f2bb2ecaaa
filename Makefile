# hakmem: libhakmem (the allocator), hakstat (the watcher), the probes between them.
#
#   make              build/libhakmem.so, build/libhakmem.a, build/hakstat
#   make demo         a real redis-server on libhakmem, seen live by hakstat
#   make test         every test; ends with "N passed, N failed, N skipped"
#   make matrix       every kind of build, tested: compilers, optimisation, C libraries, page sizes
#   make bench        benchmarks against other allocators; bench-probes: against no probes
#   make bench-cost   what hakstat costs, beside strace and bpftrace
#   make bench-bounded  memory over time in growing, shifting and hostile patterns
#   make install      PREFIX=/usr/local DESTDIR=      make uninstall
#   make docs         regenerates what is made from the contract
#   make fuzz         fuzzes the heap and hakstat, FUZZ_SECONDS=60 (tests/fuzz)
#   make lint         clang-format and clang-tidy
#   make print-flags  the compiler flags and options of this build
#
# Knobs (each variant has a folder of its own below build/)
#   PROBES=0          a library without probes               build/noprobes
#   DEBUG=1           assertions, -O0                         build/debug
#   SANITIZE=address,undefined | thread                       build/asan, build/tsan
#   CC=clang          another compiler; musl-gcc, aarch64-linux-gnu-gcc for the library alone
#   OPT=-O3 LTO=1     another optimisation; across files     build/lto
#   OTEL_PROVIDER=    name of the heap profile's probes, otel_memory by default
#   OS_PAGE=65536     for systems with such pages (runs where they are smaller)
#   NO_DEPS=1         never install packages; list what is missing instead
#   V=1               show commands

PROBES ?= 1
DEBUG ?= 0
SANITIZE ?=
LTO ?= 0
OS_PAGE ?=
OTEL_PROVIDER ?=
V ?= 0
PREFIX ?= /usr/local
DESTDIR ?=
LIBDIR ?= $(PREFIX)/lib
INCDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DATADIR ?= $(PREFIX)/share/hakmem
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)

VERSION := $(shell sed -n 's/^.define HAKMEM_VERSION "\(.*\)"/\1/p' lib/hakmem.h)
SONAME := libhakmem.so.0

variant-name := $(if $(filter 0,$(PROBES)),noprobes)$(if $(filter 1,$(DEBUG)),debug)$(if $(findstring address,$(SANITIZE)),asan)$(if $(findstring thread,$(SANITIZE)),tsan)$(if $(findstring musl,$(CC)),musl)$(if $(findstring aarch64,$(CC)),aarch64)$(if $(filter 1,$(LTO)),lto)$(if $(OS_PAGE),page$(OS_PAGE))
B ?= build$(if $(variant-name),/$(variant-name))

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
OPT := $(if $(filter 1,$(DEBUG)),-O0 -DHAK_DEBUG,-O2)
MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
# What an attacker meets. Not -fcf-protection, -mbranch-protection for the library: an instruction
# at the entry of malloc and free. Fortified functions need the optimiser, and ASan has its own.
HARDEN := -fstack-protector-strong -fstack-clash-protection \
	$(if $(SANITIZE)$(filter -O0,$(OPT)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
HARDEN_TOOL := -fPIE $(if $(filter aarch64,$(MACHINE)),-mbranch-protection=standard,-fcf-protection)
HARDEN_LINK := -Wl,-z,relro,-z,now,-z,noexecstack
# The same bytes from the same source, wherever it lies.
SAME := -ffile-prefix-map=$(CURDIR)=.
PROVIDER := $(if $(OTEL_PROVIDER),-DHAK_OTEL_PROVIDER=$(OTEL_PROVIDER))
LTO_CFLAGS := $(if $(filter 1,$(LTO)),$(if $(findstring clang,$(CC)),-flto -fuse-ld=lld -Wno-unused-command-line-argument,-flto=auto))
BASE_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g $(OPT) $(WARN) $(HARDEN) $(SAME) $(PROVIDER) $(LTO_CFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all)
# initial-exec: thread-local access in two instructions. Frame pointers, so that a probe's stack
# is whole as far as the library goes; leaf functions, the hit paths, go without.
LIB_CFLAGS = $(BASE_CFLAGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec \
	-fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free \
	-fno-omit-frame-pointer -momit-leaf-frame-pointer -fno-plt -fexceptions \
	$(if $(filter 0,$(PROBES)),-DHAK_NO_PROBES) $(if $(OS_PAGE),-DHAK_OS_PAGE_BYTES=$(OS_PAGE)) \
	-Ilib -Iprobes -idirafter $(B)/alien
TOOL_CFLAGS = $(BASE_CFLAGS) $(HARDEN_TOOL) -Ihakstat -Iprobes -I$(B)/bpf -Ibpf
# libstdc++ for its demangler alone
TOOL_LIBS := -lbpf -ldw -lelf -lz -lm -lncursesw -ltinfo -lstdc++
BENCH_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g -O2 $(WARN) -fno-builtin-malloc -pthread
# -Bsymbolic: what is ours is ours, also beside another copy
LDFLAGS_SO := -Wl,-soname,$(SONAME) -Wl,-Bsymbolic -Wl,-z,nodelete -Wl,--version-script=lib/libhakmem.map $(HARDEN_LINK) -Wl,--no-undefined -Wl,--build-id=sha1
LDFLAGS_TOOL := -pie $(HARDEN_LINK) -Wl,--build-id=sha1

Q := $(if $(filter 1,$(V)),,@)
msg = $(if $(filter 1,$(V)),,@printf '  %-8s %s\n' '$(1)' '$(2)';)

LIB_SRC := $(sort $(wildcard lib/*.c))
LIB_OBJ := $(LIB_SRC:lib/%.c=$(B)/obj/lib/%.o)
TOOL_SRC := $(sort $(wildcard hakstat/*.c))
TOOL_OBJ := $(TOOL_SRC:hakstat/%.c=$(B)/obj/hakstat/%.o)
BPF_SRC := $(sort $(wildcard bpf/*.bpf.c))
SKELS := $(BPF_SRC:bpf/%.bpf.c=$(B)/bpf/%.skel.h)
BENCH_SRC := $(sort $(wildcard bench/*.c))
BENCH_BIN := $(BENCH_SRC:bench/%.c=$(B)/bench/%)
TEST_SRC := $(sort $(wildcard tests/t_*.c))
TEST_BIN := $(TEST_SRC:tests/t_%.c=$(B)/tests/t_%)
SAN_SRC := $(shell grep -ls 'sanitize: yes' tests/t_*.c)

# Packages of Debian 12: to build, and to test.
PKGS_BUILD := gcc make clang bpftool libbpf-dev libelf-dev libdw-dev libstdc++-12-dev zlib1g-dev libncurses-dev systemtap-sdt-dev pkg-config
PKGS_DEMO := redis-server redis-tools
PKGS_TEST := $(PKGS_DEMO) libcmocka-dev g++ git sqlite3 python3 gdb strace bpftrace linux-perf \
	libclang-rt-14-dev binutils util-linux procps libcap2-bin tmux valgrind \
	spin lld musl-tools gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user golang-go
PKGS_BENCH := libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 strace bpftrace $(PKGS_DEMO) sqlite3 python3 \
	lua5.4 perl

.SUFFIXES:
.DELETE_ON_ERROR:
.PRECIOUS: $(B)/bpf/%.bpf.o
.PHONY: all lib clean help FORCE print-flags
.PHONY: demo test matrix fuzz fuzz-bin lint docs install uninstall
.PHONY: bench bench-probes bench-bounded bench-cost
.PHONY: deps-build deps-demo deps-test deps-bench bench-bin test-bin san-bin

all: lib $(if $(SANITIZE),,$(B)/hakstat)
lib: $(B)/libhakmem.so $(B)/libhakmem.a $(B)/hakmem.pc

help:
	$(Q)sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Headers of the system that do not depend on the C library, for compilers that see but their own.
define alien-headers
for h in /usr/include/sys/sdt*.h /usr/include/*-linux-gnu/sys/sdt*.h; do \
	[ ! -e $$h ] || [ -e $(B)/alien/sys/$${h##*/} ] || ln -sf $$h $(B)/alien/sys/; done; \
for d in /usr/include/linux /usr/include/asm-generic /usr/include/*-linux-gnu/asm; do \
	[ ! -e $$d ] || [ -e $(B)/alien/$${d##*/} ] || ln -sfn $$d $(B)/alien/; done
endef

# Objects depend on the flags: a file that changes only when they do.
FLAGS_NOW := $(CC) $(LIB_CFLAGS) | $(TOOL_CFLAGS)
$(B)/.flags: FORCE
	$(Q)mkdir -p $(B)/obj/lib $(B)/bpf $(B)/obj/hakstat $(B)/bench $(B)/tests $(B)/alien/sys
	$(Q)$(alien-headers)
	$(Q)echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' > $@
FORCE:

$(B)/obj/lib/%.o: lib/%.c $(B)/.flags
	$(call msg,CC,$@)$(CC) $(LIB_CFLAGS) -MMD -MP -c $< -o $@

$(B)/libhakmem.so: $(LIB_OBJ) lib/libhakmem.map
	$(call msg,LINK,$@)$(CC) -shared $(BASE_CFLAGS) $(LDFLAGS_SO) $(LIB_OBJ) -o $@ -pthread
	$(Q)ln -sf libhakmem.so $(B)/$(SONAME)

binutil = $$($(CC) -print-prog-name=$(1))
AR = $(call binutil,ar)
LTO_REL := $(if $(filter 1,$(LTO)),$(if $(findstring clang,$(CC)),,-flinker-output=nolto-rel))
# One object, so that a static program that uses any part gets the whole family; with no name but
# the exported ones, so that the program may use all others, and without the new operators that may
# not throw, which then are libstdc++'s: they catch what ours throw (lib/new.c). Tests that look
# inside get all names.
NOTHROW_NEW := _ZnwmRKSt9nothrow_t _ZnamRKSt9nothrow_t _ZnwmSt11align_val_tRKSt9nothrow_t _ZnamSt11align_val_tRKSt9nothrow_t
$(B)/hakmem-all.o: $(LIB_OBJ)
	$(call msg,LINK,$@)$(CC) $(BASE_CFLAGS) $(LTO_REL) -r -nostdlib $(LIB_OBJ) -o $@
$(B)/hakmem.o: $(B)/hakmem-all.o
	$(Q)$(call binutil,objcopy) --localize-hidden $(NOTHROW_NEW:%=--localize-symbol=%) $< $@
$(B)/libhakmem.a: $(B)/hakmem.o
	$(call msg,AR,$@)rm -f $@ && $(AR) crsD $@ $<
$(B)/libhakmem-test.a: $(B)/hakmem-all.o
	$(call msg,AR,$@)rm -f $@ && $(AR) crsD $@ $<

# The public functions without the standard names: for sanitizers, which bring their own.
API_OBJ := $(filter-out $(B)/obj/lib/malloc.o $(B)/obj/lib/new.o,$(LIB_OBJ))
$(B)/libhakmem-api.a: $(API_OBJ)
	$(call msg,AR,$@)rm -f $@ && $(AR) crsD $@ $(API_OBJ)

# Made anew each time: it holds PREFIX, which may differ from one make to the next.
$(B)/hakmem.pc: FORCE | $(B)/.flags
	$(Q)printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$(INCDIR)' '' \
		'Name: hakmem' 'Description: a malloc one can see inside while it runs' \
		'Version: $(VERSION)' 'Libs: -L$${libdir} -lhakmem' 'Libs.private: -pthread' \
		'Cflags: -I$${includedir}' > $@

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h probes/*) $(B)/.flags
	$(call msg,BPF,$@)$(CLANG) -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_$(if $(filter aarch64,$(MACHINE)),arm64,x86) $(SAME) -Wall -Werror -Iprobes -Ibpf -I/usr/include/$(shell gcc -print-multiarch) -c $< -o $@
$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(call msg,SKEL,$@)$(BPFTOOL) gen skeleton $< name $(subst .,_,$*)_bpf > $@

# Names of system calls, of the machine it is built for.
$(B)/bpf/call_names.h: $(B)/.flags
	$(call msg,GEN,$@)echo '#include <asm/unistd.h>' | $(CC) -E -dM - | \
		sed -nE 's/^#define __NR_(syscalls|arch_specific_syscall) .*//; s/^#define __NR_([a-z0-9_]+) .*/[__NR_\1] = "\1",/p' | \
		LC_ALL=C sort > $@

$(B)/obj/hakstat/%.o: hakstat/%.c $(SKELS) $(B)/bpf/call_names.h $(B)/.flags
	$(call msg,CC,$@)$(CC) $(TOOL_CFLAGS) -MMD -MP -c $< -o $@
$(B)/hakstat: $(TOOL_OBJ)
	$(call msg,LINK,$@)$(CC) $(BASE_CFLAGS) $(LDFLAGS_TOOL) $(TOOL_OBJ) -o $@ $(TOOL_LIBS)

$(B)/gen: probes/gen.c probes/probes.def probes/shared.h lib/options.def $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BASE_CFLAGS) -Iprobes $< -o $@

$(B)/bench/%: bench/%.c $(wildcard bench/*.h) $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BENCH_CFLAGS) $< -o $@ -lm
bench-bin: $(BENCH_BIN)

# Tests: linked with the static library, so its malloc replaces libc's.
TEST_LIBS := -lcmocka -pthread -ldl
TEST_LIB = $(B)/libhakmem-test.a
$(B)/tests/t_%: tests/t_%.c $(B)/libhakmem-test.a $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BENCH_CFLAGS) -Ilib -Iprobes -fno-builtin $< $(TEST_LIB) -o $@ $(TEST_LIBS)
# Puts itself between the library and the system; what is in one object cannot be wrapped.
comma := ,
$(B)/tests/t_faults: TEST_LIB = $(LIB_OBJ)
$(B)/tests/t_faults: TEST_LIBS += $(addprefix -Wl$(comma)--wrap=,os_call clock_gettime \
	pthread_setspecific pthread_key_create pthread_atfork)
$(B)/tests/t_transfer: TEST_LIB = $(LIB_OBJ)
$(B)/tests/t_transfer: TEST_LIBS += -Wl,--wrap=transfer_give
$(B)/tests/t_sample: TEST_LIB = $(LIB_OBJ)
$(B)/tests/t_sample $(B)/tests/san_sample: TEST_LIBS += -lm $(addprefix -Wl$(comma)--wrap=hak_probe_otel_memory_, alloc free)
# Those that use hak_ names only, under a sanitizer: make SANITIZE=... san-bin
$(B)/tests/san_%: tests/t_%.c $(B)/libhakmem-api.a $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BASE_CFLAGS) -Ilib -Iprobes $< $(B)/libhakmem-api.a -o $@ $(TEST_LIBS)
test-bin: $(TEST_BIN)
san-bin: $(patsubst tests/t_%.c,$(B)/tests/san_%,$(SAN_SRC))

# Fuzz targets: the code under test with libFuzzer's counters, ASan and UBSan, by clang.
FUZZ_SECONDS ?= 60
FUZZ_FLAGS := $(BASE_CFLAGS) -Ilib -Iprobes -Ihakstat -Ibpf -I$(B)/bpf -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
FUZZ_BIN := heap heap-plant dump file profile counters
FUZZ_COUNTERS_SRC := $(addprefix hakstat/,collect.c model.c columns.c header.c emit.c text.c contract.c view_classes.c view_os.c view_route.c)
# What reads files: cores, notes, recordings; and the views of the latter.
FUZZ_FILE_SRC := $(patsubst %,hakstat/%.c,memory dump target copies privilege mapped proc_stat contract \
	instant recording sample_instant replay recorded sources threads remotes rss smaps pagetables peek names collect \
	model columns emit header view_classes view_os view_threads view_route view_remote view_memory \
	remote_matrix progress text)
$(B)/fuzz-heap: tests/fuzz/heap.c $(B)/libhakmem-api.a
	$(call msg,CC,$@)$(CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $< $(B)/libhakmem-api.a -o $@ -pthread
$(B)/fuzz-heap-plant: tests/fuzz/heap.c $(B)/libhakmem-api.a
	$(call msg,CC,$@)$(CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -DPLANT $< $(B)/libhakmem-api.a -o $@ -pthread
$(B)/fuzz-dump: tests/fuzz/dump.c hakstat/dump.c $(B)/libhakmem-api.a
	$(call msg,CC,$@)$(CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@ -pthread
$(B)/fuzz-file: tests/fuzz/file.c $(FUZZ_FILE_SRC) $(addprefix $(B)/bpf/,waits.skel.h remote.skel.h peek.skel.h) $(B)/.flags
	$(call msg,CC,$@)$(CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $(filter %.c,$^) -o $@ -lelf -lbpf -lz
FUZZ_PROFILE_SRC := $(addprefix hakstat/,profile_read.c wire.c calltree.c flame.c columns.c target.c copies.c privilege.c mapped.c proc_stat.c contract.c)
$(B)/fuzz-profile: tests/fuzz/profile.c $(FUZZ_PROFILE_SRC) $(B)/.flags
	$(call msg,CC,$@)$(CC) $(FUZZ_FLAGS) -Ibpf -fsanitize=fuzzer $(filter %.c,$^) -o $@ -lelf -lz -lm
$(B)/fuzz-counters: tests/fuzz/counters.c $(FUZZ_COUNTERS_SRC) $(B)/.flags
	$(call msg,CC,$@)$(CC) $(FUZZ_FLAGS) -Ibpf -fsanitize=fuzzer $(filter %.c,$^) -o $@
fuzz-bin:
	$(Q)$(MAKE) --no-print-directory B=build/fuzz CC=$(CLANG) SANITIZE=fuzzer-no-link,address,undefined \
		$(FUZZ_BIN:%=build/fuzz/fuzz-%)
fuzz: deps-test fuzz-bin
	$(Q)bash tests/fuzz/run.sh $(FUZZ_SECONDS)

# As many jobs as CPUs, unless who called make has said how many.
JOBS_FLAG = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
test: deps-test
	$(Q)$(MAKE) $(JOBS_FLAG) --no-print-directory all test-bin bench-bin $(B)/gen
	$(Q)$(MAKE) $(JOBS_FLAG) --no-print-directory PROBES=0 lib
	$(Q)$(MAKE) $(JOBS_FLAG) --no-print-directory SANITIZE=address,undefined san-bin
	$(Q)$(MAKE) $(JOBS_FLAG) --no-print-directory SANITIZE=thread san-bin
	$(Q)BUILD=$(B) bash tests/run.sh $(TEST_BIN) \
		$(patsubst tests/t_%.c,build/asan/tests/san_%,$(SAN_SRC)) \
		$(patsubst tests/t_%.c,build/tsan/tests/san_%,$(SAN_SRC)) \
		$(sort $(wildcard tests/t_*.sh tests/programs/*.sh))

matrix: deps-test
	$(Q)$(MAKE) --no-print-directory all $(B)/gen
	$(Q)MATRIX=full BUILD=$(B) bash tests/t_builds.sh

demo: deps-demo
	$(Q)$(MAKE) --no-print-directory all bench-bin
	$(Q)BUILD=$(B) bash bench/demo.sh

bench: deps-bench
	$(Q)$(MAKE) --no-print-directory lib bench-bin
	$(Q)BUILD=$(B) bash bench/run.sh '$(or $(PATTERN),.)'

# What probes cost while nobody watches: this library against one built without them.
bench-probes: deps-bench
	$(Q)$(MAKE) --no-print-directory lib bench-bin
	$(Q)$(MAKE) --no-print-directory PROBES=0 lib
	$(Q)BUILD=$(B) PEERS=noprobes=build/noprobes/libhakmem.so ONLY='noprobes hakmem' REF=noprobes \
		STRACE=0 OUT=$(B)/bench/probes bash bench/run.sh '$(or $(PATTERN),.)'

# Memory over time against other allocators; PATTERN: threads, pipe, wave, mixes, shift, pin, robson.
bench-bounded: deps-bench
	$(Q)$(MAKE) --no-print-directory lib bench-bin
	$(Q)BUILD=$(B) bash bench/bounded.sh $(PATTERN)

# What hakstat costs those it watches, beside strace -c -f and a bpftrace script; PATTERN: redis, larson.
bench-cost: deps-bench
	$(Q)$(MAKE) --no-print-directory all bench-bin
	$(Q)BUILD=$(B) python3 bench/cost.py $(PATTERN)

# Packages: installs what is missing, or with NO_DEPS=1 refuses and lists it.
deps-build: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD)
deps-demo: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD) -- $(PKGS_DEMO)
deps-test: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD) $(PKGS_TEST)
deps-bench: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD) $(PKGS_BENCH)

print-flags:
	@echo 'CC          $(CC) ($(shell $(CC) --version | head -n 1))'
	@echo 'LIB_CFLAGS  $(LIB_CFLAGS)'
	@echo 'LDFLAGS_SO  $(LDFLAGS_SO)'
	@echo 'TOOL_CFLAGS $(TOOL_CFLAGS)'
	@echo 'LDFLAGS_TOOL $(LDFLAGS_TOOL)'
	@echo 'LTO         $(LTO)'
	@echo 'OS_PAGE     $(or $(OS_PAGE),of the processor)'
	@echo 'PROBES      $(PROBES)'
	@echo 'DEBUG       $(DEBUG)'
	@echo 'SANITIZE    $(SANITIZE)'
	@echo 'VERSION     $(VERSION)'
	@echo 'BUILD       $(B)'

# So that programs find a library installed where the dynamic linker looks; not for a package.
update-ld-cache = if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then PATH=$$PATH:/sbin ldconfig; fi

MAN := $(wildcard docs/man/*.[1-8])
RECIPES := $(wildcard probes/bpftrace/*.bt)
install: all
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCDIR) $(DESTDIR)$(BINDIR)
	install -m 755 $(B)/libhakmem.so $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libhakmem.so
	install -m 644 $(B)/libhakmem.a $(DESTDIR)$(LIBDIR)/libhakmem.a
	install -m 644 $(B)/hakmem.pc $(DESTDIR)$(LIBDIR)/pkgconfig/hakmem.pc
	install -m 644 lib/hakmem.h $(DESTDIR)$(INCDIR)/hakmem.h
	install -m 755 $(B)/hakstat $(DESTDIR)$(BINDIR)/hakstat
	for m in $(MAN); do s=$${m##*.}; install -d $(DESTDIR)$(MANDIR)/man$$s; \
		install -m 644 $$m $(DESTDIR)$(MANDIR)/man$$s/; done
	install -d $(DESTDIR)$(DATADIR)/bpftrace
	install -m 644 $(RECIPES) $(DESTDIR)$(DATADIR)/bpftrace/
	$(update-ld-cache)

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/$(SONAME) $(DESTDIR)$(LIBDIR)/libhakmem.so \
		$(DESTDIR)$(LIBDIR)/libhakmem.a $(DESTDIR)$(LIBDIR)/pkgconfig/hakmem.pc \
		$(DESTDIR)$(INCDIR)/hakmem.h $(DESTDIR)$(BINDIR)/hakstat
	for m in $(MAN); do rm -f $(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}; done
	rm -f $(RECIPES:probes/%=$(DESTDIR)$(DATADIR)/%)
	rmdir $(DESTDIR)$(DATADIR)/bpftrace $(DESTDIR)$(DATADIR) 2>/dev/null || true
	$(update-ld-cache)

# The contract's reference, and the option table inside the manual page.
docs: $(B)/gen
	$(B)/gen markdown > docs/PROBES.md
	bash docs/splice.sh docs/man/hakmem.7 $(B)/gen

SOURCES := $(wildcard lib/*.[ch] probes/*.[ch] hakstat/*.[ch] bpf/*.[ch] bench/*.[ch] tests/*.[ch] tests/fuzz/*.[ch])
# Not those that include a generated skeleton, which clang-tidy finds fault with.
SKEL_USERS := $(shell grep -ls 'skel\.h"' $(TOOL_SRC))
lint: $(SKELS)
	clang-format --dry-run --Werror $(SOURCES)
	clang-tidy --quiet $(LIB_SRC) -- $(filter-out -fno-plt -Werror,$(LIB_CFLAGS))
	clang-tidy --quiet $(filter-out $(SKEL_USERS),$(TOOL_SRC)) -- $(filter-out -Werror,$(TOOL_CFLAGS))

clean:
	rm -rf build

-include $(LIB_OBJ:.o=.d) $(TOOL_OBJ:.o=.d)
