/*
 * HAKMEM_PROFILE=1: the sampled blocks that live, each with what an unwinder outside needs: the
 * registers and the stack's innermost part. A table of fixed size, mapped with the first sample.
 * Of each record only as much takes memory as its slice has; those freed last are used first.
 */
#include "internal.h"

#define RECORDS 8192U
#define RECORD_BYTES 8192U
#define SLICE_BYTES (RECORD_BYTES - sizeof(struct hak_sample))

_Static_assert(RECORD_BYTES % HAK_OS_PAGE_LEAST == 0 || HAK_OS_PAGE_LEAST % RECORD_BYTES == 0,
	       "records share no more OS pages than they must");

static uint32_t free_first; /* lock MARKS: of the free ones, plus 1; each has the next in `bytes` */

static struct hak_sample *record_at(uint32_t i)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (struct hak_sample *)(uintptr_t)(hakmem_root.sampling.record +
						(uint64_t)i * RECORD_BYTES);
}

static bool map_table(void)
{
	void *table = os_map_guarded((size_t)RECORDS * RECORD_BYTES, HAK_OS_META);

	if (!table)
		return false;
	add_relaxed(&hakmem_root.now.meta_bytes, (uint64_t)RECORDS * RECORD_BYTES);
	hakmem_root.sampling.record_bytes = RECORD_BYTES;
	hakmem_root.sampling.records = RECORDS;
	/* release: who finds the table finds its size */
	store_release(&hakmem_root.sampling.record, (uintptr_t)table);
	return true;
}

/* A record that nobody else has, plus 1; 0: none left. */
static uint32_t take(void)
{
	struct hak_sampling *s = &hakmem_root.sampling;
	uint32_t i = 0;

	lock_take(&marks_lock);
	if (free_first) {
		i = free_first;
		free_first = record_at(i - 1)->bytes;
	} else if ((s->record || map_table()) && s->used < s->records) {
		poke(&s->used, s->used + 1);
		i = s->used;
	}
	if (i)
		poke(&s->live, s->live + 1);
	else
		poke(&s->lost, s->lost + 1);
	lock_drop(&marks_lock);
	return i;
}

static const char *thread_pointer(void)
{
	return __builtin_thread_pointer();
}

/*
 * Where reading the stack from sp on has to end. A thread's own data lies behind the stack that
 * pthread_create made for it; in other cases the pages are asked for one by one.
 */
static const char *stack_end(const char *sp, size_t most)
{
	const char *end = sp + most, *own = thread_pointer();
	const char *page;

	if (own > sp && own < end)
		end = own;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	page = (const char *)(align_up((uintptr_t)sp + 1, HAK_OS_PAGE_LEAST));
	for (; page < end; page += HAK_OS_PAGE_LEAST)
		if (!os_can_read(page))
			return page;
	return end;
}

/* Words, one by one: a sanitizer knows of places in between that are not to be read. */
__attribute__((no_sanitize("address", "thread"), noinline)) static uint32_t
copy_stack(uint8_t *to, const char *sp, const char *end)
{
	size_t n = (size_t)(end - sp) / sizeof(uint64_t);
	const volatile uint64_t *from = (const volatile uint64_t *)(const volatile void *)sp;

	for (size_t i = 0; i < n; i++)
		((uint64_t *)(void *)to)[i] = from[i];
	return (uint32_t)(n * sizeof(uint64_t));
}

/* What an unwinder begins with, as of here. */
#if defined(__x86_64__)
#define REG_SP 7
#define read_registers(reg)                          \
	__asm__ volatile("movq %%rbx, 24(%0)\n\t"    \
			 "movq %%rbp, 48(%0)\n\t"    \
			 "movq %%rsp, 56(%0)\n\t"    \
			 "movq %%r12, 96(%0)\n\t"    \
			 "movq %%r13, 104(%0)\n\t"   \
			 "movq %%r14, 112(%0)\n\t"   \
			 "movq %%r15, 120(%0)\n\t"   \
			 "leaq 1f(%%rip), %%rax\n\t" \
			 "movq %%rax, 128(%0)\n"     \
			 "1:"                        \
			 :                           \
			 : "r"(reg)                  \
			 : "rax", "memory")
#elif defined(__aarch64__)
#define REG_SP 31
#define read_registers(reg)                             \
	__asm__ volatile("stp x19, x20, [%0, #152]\n\t" \
			 "stp x21, x22, [%0, #168]\n\t" \
			 "stp x23, x24, [%0, #184]\n\t" \
			 "stp x25, x26, [%0, #200]\n\t" \
			 "stp x27, x28, [%0, #216]\n\t" \
			 "stp x29, x30, [%0, #232]\n\t" \
			 "mov x9, sp\n\t"               \
			 "adr x10, 1f\n\t"              \
			 "stp x9, x10, [%0, #248]\n"    \
			 "1:"                           \
			 :                              \
			 : "r"(reg)                     \
			 : "x9", "x10", "memory")
#endif

static void begin_write(struct hak_sample *r)
{
	/* who reads outside sees it odd before anything else changes */
	__atomic_exchange_n(&r->version, r->version + 1, __ATOMIC_SEQ_CST);
}

static void end_write(struct hak_sample *r)
{
	store_release(&r->version, r->version + 1);
}

/* The record of a block just sampled, plus 1; 0: no room. Its stack is the caller's, and ours. */
HAK_NOINLINE uint32_t profile_add(const void *p, uint64_t bytes, uint64_t weight)
{
	uint32_t i = take();
	struct hak_sample *r;
	const char *sp, *end;

	if (!i)
		return 0;
	r = record_at(i - 1);
	begin_write(r);
	read_registers(r->reg);
	sp = (const char *)(uintptr_t)r->reg[REG_SP]; /* NOLINT(performance-no-int-to-ptr) */
	end = stack_end(sp, SLICE_BYTES);
	r->bytes = copy_stack(r->slice, sp, end);
	r->whole = end < sp + SLICE_BYTES;
	r->tid = os_tid();
	r->size = bytes;
	r->weight = weight;
	r->time_ns = os_now_ns();
	r->ptr = (uintptr_t)p;
	end_write(r);
	return i;
}

/* The block is about to be freed. */
void profile_remove(uint32_t record)
{
	struct hak_sample *r = record_at(record - 1);

	lock_take(&marks_lock);
	begin_write(r);
	r->ptr = 0;
	r->bytes = free_first;
	end_write(r);
	free_first = record;
	poke(&hakmem_root.sampling.live, hakmem_root.sampling.live - 1);
	lock_drop(&marks_lock);
}
