# hakmem: libhakmem (the allocator), hakstat (the watcher), the probes between them.
#
#   make              build/libhakmem.so, build/libhakmem.a, build/hakstat
#   make demo         a real redis-server on libhakmem, seen live by hakstat
#   make test         every test; ends with "N passed, N failed, N skipped"
#   make bench        benchmarks against other allocators; bench-probes: against no probes
#   make install      PREFIX=/usr/local DESTDIR=      make uninstall
#   make docs         regenerates what is made from the contract
#   make lint         clang-format and clang-tidy
#   make print-flags  the compiler flags and options of this build
#
# Knobs (each variant has a folder of its own below build/)
#   PROBES=0          a library without probes               build/noprobes
#   DEBUG=1           assertions, -O0                         build/debug
#   SANITIZE=address,undefined | thread                       build/asan, build/tsan
#   CC=clang          another compiler
#   NO_DEPS=1         never install packages; list what is missing instead
#   V=1               show commands

PROBES ?= 1
DEBUG ?= 0
SANITIZE ?=
V ?= 0
PREFIX ?= /usr/local
DESTDIR ?=
LIBDIR ?= $(PREFIX)/lib
INCDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)

VERSION := $(shell sed -n 's/^.define HAKMEM_VERSION "\(.*\)"/\1/p' lib/hakmem.h)
SONAME := libhakmem.so.0

variant-name := $(if $(filter 0,$(PROBES)),noprobes)$(if $(filter 1,$(DEBUG)),debug)$(if $(findstring address,$(SANITIZE)),asan)$(if $(findstring thread,$(SANITIZE)),tsan)
B ?= build$(if $(variant-name),/$(variant-name))

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
OPT := $(if $(filter 1,$(DEBUG)),-O0 -DHAK_DEBUG,-O2)
BASE_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g $(OPT) $(WARN) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all)
# initial-exec: thread-local access in two instructions. Frame pointers, so that a probe's stack
# is whole as far as the library goes; leaf functions, the hit paths, go without.
LIB_CFLAGS = $(BASE_CFLAGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec \
	-fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free \
	-fno-omit-frame-pointer -momit-leaf-frame-pointer -fno-plt -fexceptions \
	$(if $(filter 0,$(PROBES)),-DHAK_NO_PROBES) -Ilib -Iprobes
TOOL_CFLAGS = $(BASE_CFLAGS) -Ihakstat -Iprobes -I$(B)/bpf -Ibpf
TOOL_LIBS := -lbpf -lelf -lz -lncursesw -ltinfo
BENCH_CFLAGS := -std=gnu11 -D_GNU_SOURCE -g -O2 $(WARN) -fno-builtin-malloc -pthread
LDFLAGS_SO := -Wl,-soname,$(SONAME) -Wl,-z,nodelete -Wl,--version-script=lib/libhakmem.map -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--no-undefined

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
PKGS_BUILD := gcc make clang bpftool libbpf-dev libelf-dev zlib1g-dev libncurses-dev systemtap-sdt-dev pkg-config
PKGS_DEMO := redis-server redis-tools
PKGS_TEST := $(PKGS_DEMO) libcmocka-dev g++ git sqlite3 python3 gdb strace bpftrace linux-perf \
	libclang-rt-14-dev binutils util-linux procps libcap2-bin tmux valgrind
PKGS_BENCH := libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 strace $(PKGS_DEMO) sqlite3 python3 \
	lua5.4 perl

.SUFFIXES:
.DELETE_ON_ERROR:
.PRECIOUS: $(B)/bpf/%.bpf.o
.PHONY: all lib demo test bench bench-probes install uninstall docs lint print-flags clean deps-build deps-demo deps-test deps-bench bench-bin test-bin san-bin help FORCE

all: lib $(if $(SANITIZE),,$(B)/hakstat)
lib: $(B)/libhakmem.so $(B)/libhakmem.a $(B)/hakmem.pc

help:
	$(Q)sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Objects depend on the flags: a file that changes only when they do.
FLAGS_NOW := $(CC) $(LIB_CFLAGS) | $(TOOL_CFLAGS)
$(B)/.flags: FORCE
	$(Q)mkdir -p $(B)/obj/lib $(B)/bpf $(B)/obj/hakstat $(B)/bench $(B)/tests
	$(Q)echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' > $@
FORCE:

$(B)/obj/lib/%.o: lib/%.c $(B)/.flags
	$(call msg,CC,$@)$(CC) $(LIB_CFLAGS) -MMD -MP -c $< -o $@

$(B)/libhakmem.so: $(LIB_OBJ) lib/libhakmem.map
	$(call msg,LINK,$@)$(CC) -shared $(BASE_CFLAGS) $(LDFLAGS_SO) $(LIB_OBJ) -o $@ -pthread
	$(Q)ln -sf libhakmem.so $(B)/$(SONAME)

# One object, so that a static program that uses any part gets the whole family.

$(B)/libhakmem.a: $(LIB_OBJ)
	$(call msg,AR,$@)ld -r $(LIB_OBJ) -o $(B)/hakmem-all.o && rm -f $@ && ar crs $@ $(B)/hakmem-all.o

# The public functions without the standard names: for sanitizers, which bring their own.
API_OBJ := $(filter-out $(B)/obj/lib/malloc.o $(B)/obj/lib/new.o,$(LIB_OBJ))
$(B)/libhakmem-api.a: $(API_OBJ)
	$(call msg,AR,$@)rm -f $@ && ar crs $@ $(API_OBJ)

# Made anew each time: it holds PREFIX, which may differ from one make to the next.
$(B)/hakmem.pc: FORCE | $(B)/.flags
	$(Q)printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$(INCDIR)' '' \
		'Name: hakmem' 'Description: a malloc one can see inside while it runs' \
		'Version: $(VERSION)' 'Libs: -L$${libdir} -lhakmem' 'Libs.private: -pthread' \
		'Cflags: -I$${includedir}' > $@

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h probes/*) $(B)/.flags
	$(call msg,BPF,$@)$(CLANG) -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Werror -Iprobes -Ibpf -I/usr/include/$(shell gcc -print-multiarch) -c $< -o $@
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
	$(call msg,LINK,$@)$(CC) $(BASE_CFLAGS) $(TOOL_OBJ) -o $@ $(TOOL_LIBS)

$(B)/gen: probes/gen.c probes/probes.def probes/shared.h lib/options.def $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BASE_CFLAGS) -Iprobes $< -o $@

$(B)/bench/%: bench/%.c $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BENCH_CFLAGS) $< -o $@ -lm
bench-bin: $(BENCH_BIN)

# Tests: linked with the static library, so its malloc replaces libc's.
TEST_LIBS := -lcmocka -pthread -ldl
TEST_LIB = $(B)/libhakmem.a
$(B)/tests/t_%: tests/t_%.c $(B)/libhakmem.a $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BENCH_CFLAGS) -Ilib -Iprobes -fno-builtin $< $(TEST_LIB) -o $@ $(TEST_LIBS)
# Puts itself between the library and the system; what is in one object cannot be wrapped.
comma := ,
$(B)/tests/t_faults: TEST_LIB = $(LIB_OBJ)
$(B)/tests/t_faults: TEST_LIBS += $(addprefix -Wl$(comma)--wrap=,os_call pthread_setspecific \
	pthread_key_create pthread_atfork)
# Those that use hak_ names only, under a sanitizer: make SANITIZE=... san-bin
$(B)/tests/san_%: tests/t_%.c $(B)/libhakmem-api.a $(B)/.flags
	$(call msg,CC,$@)$(CC) $(BASE_CFLAGS) -Ilib -Iprobes $< $(B)/libhakmem-api.a -o $@ $(TEST_LIBS)
test-bin: $(TEST_BIN)
san-bin: $(patsubst tests/t_%.c,$(B)/tests/san_%,$(SAN_SRC))

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

# Packages: installs what is missing, or with NO_DEPS=1 refuses and lists it.
deps-build: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD)
deps-demo: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD) -- $(PKGS_DEMO)
deps-test: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD) $(PKGS_TEST)
deps-bench: ; $(Q)NO_DEPS=$(NO_DEPS) bash tests/deps.sh $(PKGS_BUILD) $(PKGS_BENCH)

print-flags:
	@echo 'CC          $(CC) ($(shell $(CC) --version | head -n 1))'
	@echo 'LIB_CFLAGS  $(LIB_CFLAGS)'
	@echo 'LDFLAGS_SO  $(LDFLAGS_SO)'
	@echo 'PROBES      $(PROBES)'
	@echo 'DEBUG       $(DEBUG)'
	@echo 'SANITIZE    $(SANITIZE)'
	@echo 'VERSION     $(VERSION)'
	@echo 'BUILD       $(B)'

# So that programs find a library installed where the dynamic linker looks; not for a package.
update-ld-cache = if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then PATH=$$PATH:/sbin ldconfig; fi

MAN := $(wildcard docs/man/*.[1-8])
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
	$(update-ld-cache)

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/$(SONAME) $(DESTDIR)$(LIBDIR)/libhakmem.so \
		$(DESTDIR)$(LIBDIR)/libhakmem.a $(DESTDIR)$(LIBDIR)/pkgconfig/hakmem.pc \
		$(DESTDIR)$(INCDIR)/hakmem.h $(DESTDIR)$(BINDIR)/hakstat
	for m in $(MAN); do rm -f $(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}; done
	$(update-ld-cache)

# The contract's reference, and the option table inside the manual page.
docs: $(B)/gen
	$(B)/gen markdown > docs/PROBES.md
	bash docs/splice.sh docs/man/hakmem.7 $(B)/gen

SOURCES := $(wildcard lib/*.[ch] probes/*.[ch] hakstat/*.[ch] bpf/*.[ch] bench/*.c tests/*.c)
# attach.c and calls.c include generated skeletons, which clang-tidy finds fault with.
lint: $(SKELS)
	clang-format --dry-run --Werror $(SOURCES)
	clang-tidy --quiet $(LIB_SRC) -- $(filter-out -fno-plt -Werror,$(LIB_CFLAGS))
	clang-tidy --quiet $(filter-out hakstat/attach.c hakstat/calls.c,$(TOOL_SRC)) -- $(filter-out -Werror,$(TOOL_CFLAGS))

clean:
	rm -rf build

-include $(LIB_OBJ:.o=.d) $(TOOL_OBJ:.o=.d)
