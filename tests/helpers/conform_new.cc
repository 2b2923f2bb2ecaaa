// What the C++ standard says of operator new and delete, every form of them: [new.delete],
// [alloc.errors], and what builds on them. Runs preloaded, linked and static.
#include "test.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>
#include <vector>

extern "C" {
extern unsigned hak_check(void) __attribute__((weak));
extern std::size_t malloc_usable_size(void *p) noexcept;
}

namespace
{

using std::align_val_t;
using std::nothrow;
using std::size_t;

constexpr size_t TOO_MUCH[] = {
	PTRDIFF_MAX, size_t(PTRDIFF_MAX) + 1,	  SIZE_MAX - 65536, SIZE_MAX - 4096, SIZE_MAX - 15,
	SIZE_MAX,    size_t(PTRDIFF_MAX) - 65535, size_t(1) << 47,  size_t(1) << 62,
};

// ---- every form ----

struct Form {
	const char *name;
	void *(*get)(size_t n, size_t alignment);
	bool aligned, throws;
};

const Form forms[] = {
	{"new", [](size_t n, size_t) { return ::operator new(n); }, false, true},
	{"new[]", [](size_t n, size_t) { return ::operator new[](n); }, false, true},
	{"new nothrow", [](size_t n, size_t) { return ::operator new(n, nothrow); }, false, false},
	{"new[] nothrow", [](size_t n, size_t) { return ::operator new[](n, nothrow); }, false,
	 false},
	{"new align", [](size_t n, size_t a) { return ::operator new(n, align_val_t(a)); }, true,
	 true},
	{"new[] align", [](size_t n, size_t a) { return ::operator new[](n, align_val_t(a)); },
	 true, true},
	{"new align nothrow",
	 [](size_t n, size_t a) { return ::operator new(n, align_val_t(a), nothrow); }, true,
	 false},
	{"new[] align nothrow",
	 [](size_t n, size_t a) { return ::operator new[](n, align_val_t(a), nothrow); }, true,
	 false},
};

// Each form of delete may end a block of the form of new with the same alignment and brackets;
// which brackets and sizes makes no difference to a malloc.
using Drop = void (*)(void *p, size_t n, size_t alignment);
const Drop drops[2][6] = {
	{
		[](void *p, size_t, size_t) { ::operator delete(p); },
		[](void *p, size_t n, size_t) { ::operator delete(p, n); },
		[](void *p, size_t, size_t) { ::operator delete(p, nothrow); },
		[](void *p, size_t, size_t) { ::operator delete[](p); },
		[](void *p, size_t n, size_t) { ::operator delete[](p, n); },
		[](void *p, size_t, size_t) { ::operator delete[](p, nothrow); },
	},
	{
		[](void *p, size_t, size_t a) { ::operator delete(p, align_val_t(a)); },
		[](void *p, size_t n, size_t a) { ::operator delete(p, n, align_val_t(a)); },
		[](void *p, size_t, size_t a) { ::operator delete(p, align_val_t(a), nothrow); },
		[](void *p, size_t, size_t a) { ::operator delete[](p, align_val_t(a)); },
		[](void *p, size_t n, size_t a) { ::operator delete[](p, n, align_val_t(a)); },
		[](void *p, size_t, size_t a) { ::operator delete[](p, align_val_t(a), nothrow); },
	},
};

bool is_aligned(const void *p, size_t to)
{
	return p && (reinterpret_cast<std::uintptr_t>(p) & (to - 1)) == 0;
}

void whole()
{
	if (CHECK(hak_check != nullptr))
		CHECK_EQ(hak_check(), 0);
}

void every_form_of_new_and_delete()
{
	for (const Form &f : forms) {
		for (const Drop drop : drops[f.aligned]) {
			for (size_t n = 0; n < 900000; n = n < 40 ? n + 1 : n * 2) {
				size_t a = f.aligned ? size_t(1) << n % 17 : 16;
				void *p = f.get(n, a);

				CHECK(is_aligned(p, a) && is_aligned(p, 16));
				CHECK(malloc_usable_size(p) >= n);
				test_fill(p, n, uint32_t(n));
				CHECK(test_verify(p, n, uint32_t(n)));
				drop(p, n, a);
			}
		}
	}
	whole();
}

void blocks_of_no_bytes_differ()
{
	for (const Form &f : forms) {
		void *p = f.get(0, 64), *q = f.get(0, 64);

		CHECK(p && q && p != q);
		drops[f.aligned][0](p, 0, 64);
		drops[f.aligned][1](q, 0, 64);
	}
}

void deleting_null_does_nothing()
{
	for (int aligned = 0; aligned < 2; aligned++)
		for (const Drop drop : drops[aligned])
			drop(nullptr, 100, 64);
}

void alignments_up_to_1_gib()
{
	for (size_t a = 1; a <= size_t(1) << 30; a *= 2) {
		for (const Form &f : forms) {
			if (!f.aligned)
				continue;
			void *p = f.get(100, a), *q = f.get(a < 65536 ? 3 * a : 1, a);

			CHECK(is_aligned(p, a) && is_aligned(q, a));
			drops[1][0](p, 100, a);
			drops[1][2](q, 1, a);
		}
	}
}

// ---- out of memory ----

bool throws_bad_alloc(const Form &f, size_t n, size_t a)
{
	try {
		return f.get(n, a) == nullptr && !f.throws;
	} catch (const std::bad_alloc &e) {
		return f.throws && std::string(e.what()) == "std::bad_alloc";
	}
}

void too_much_is_bad_alloc_or_null()
{
	for (const Form &f : forms)
		for (size_t n : TOO_MUCH)
			for (size_t a = 1; a <= size_t(1) << 30; a <<= 6)
				if (!CHECK(throws_bad_alloc(f, n, a)))
					test_say("#   %s of %zu at %zu\n", f.name, n, a);
	for (const Form &f : forms)
		if (f.aligned)
			CHECK(throws_bad_alloc(f, SIZE_MAX / 4, size_t(1) << 62));
	whole();
}

// What the language makes of an array that cannot be.
void arrays_too_long()
{
	volatile size_t n = SIZE_MAX / 4;
	int caught = 0;

	struct Wide {
		char bytes[64];
	};
	try {
		delete[] new Wide[n];
	} catch (const std::bad_alloc &) { /* bad_array_new_length, where the compiler knows it */
		caught++;
	}
	try {
		delete[] new char[n];
	} catch (const std::bad_alloc &) {
		caught++;
	}
	CHECK_EQ(caught, 2);
	CHECK(new (nothrow) char[n] == nullptr);
}

// ---- the new-handler ----

int calls;

void gives_up_at_third()
{
	if (++calls == 3)
		std::set_new_handler(nullptr);
}

struct Mine {
};

void throws_its_own()
{
	calls++;
	throw Mine();
}

void throws_a_bad_alloc()
{
	calls++;
	throw std::bad_alloc();
}

// Called again and again as long as there is no memory, until none is set.
void handler_is_asked_until_there_is_none()
{
	for (const Form &f : forms) {
		calls = 0;
		std::set_new_handler(gives_up_at_third);
		CHECK(throws_bad_alloc(f, TOO_MUCH[0], 4096));
		if (!CHECK_EQ(calls, 3))
			test_say("#   %s\n", f.name);
		CHECK(std::get_new_handler() == nullptr);
	}
}

// What a handler throws passes through new and ends as NULL where nothing may be thrown.
void what_a_handler_throws()
{
	for (const Form &f : forms) {
		bool mine = false, null = false;

		calls = 0;
		std::set_new_handler(throws_a_bad_alloc);
		CHECK(throws_bad_alloc(f, TOO_MUCH[1], 64));
		CHECK_EQ(calls, 1);
		std::set_new_handler(throws_its_own);
		try {
			null = f.get(TOO_MUCH[1], 64) == nullptr;
		} catch (const Mine &) {
			mine = true;
		}
		CHECK_EQ(calls, 2);
		if (!CHECK(f.throws ? mine : null))
			test_say("#   %s\n", f.name);
		std::set_new_handler(nullptr);
	}
	whole();
}

// What is no alignment is refused at once, as libstdc++ does: no handler could help.
void alignments_that_are_none()
{
	calls = 0;
	std::set_new_handler(throws_its_own);
	for (size_t a : {0UL, 3UL, 24UL, 65537UL, SIZE_MAX}) {
		for (const Form &f : forms) {
			if (!f.aligned)
				continue;
			if (!f.throws)
				std::set_new_handler(nullptr);
			CHECK(throws_bad_alloc(f, 100, a));
			std::set_new_handler(throws_its_own);
		}
	}
	std::set_new_handler(nullptr);
	CHECK_EQ(calls, 0);
}

// Not while there is memory.
void handler_is_not_asked_without_need()
{
	calls = 0;
	std::set_new_handler(throws_its_own);
	every_form_of_new_and_delete();
	std::set_new_handler(nullptr);
	CHECK_EQ(calls, 0);
}

// ---- what stands on them ----

struct alignas(512) Aligned {
	char bytes[1024];
	std::string name = std::string(100, 'n');
};

void types_with_an_alignment()
{
	std::vector<Aligned> v(9);
	auto one = std::make_unique<Aligned>();
	auto shared = std::make_shared<Aligned>();
	Aligned *raw = new Aligned[5];

	CHECK(is_aligned(v.data(), 512) && is_aligned(one.get(), 512));
	CHECK(is_aligned(shared.get(), 512) && is_aligned(raw, 512));
	CHECK(raw[4].name.size() == 100);
	delete[] raw;
	Aligned *quiet = new (nothrow) Aligned;
	CHECK(is_aligned(quiet, 512));
	delete quiet;
}

int alive;

struct Throws {
	Throws()
	{
		if (++alive == 5)
			throw Mine();
	}
	~Throws()
	{
		alive--;
	}
	char bytes[100];
};

// The block of an object whose constructor throws is given back, by the matching delete.
void constructors_that_throw()
{
	for (int i = 0; i < 1000; i++) {
		alive = 0;
		try {
			delete[] new Throws[10];
			CHECK(false);
		} catch (const Mine &) {
			CHECK_EQ(alive, 1); /* it counted the one that never lived */
		}
		alive = 4;
		try {
			delete new (nothrow) Throws;
			CHECK(false);
		} catch (const Mine &) {
		}
	}
	whole();
}

void memory_resources()
{
	std::pmr::memory_resource *r = std::pmr::new_delete_resource();
	void *p = r->allocate(1000, 256);
	std::pmr::monotonic_buffer_resource pool(r);
	std::pmr::vector<std::pmr::string> v(&pool);

	CHECK(is_aligned(p, 256));
	r->deallocate(p, 1000, 256);
	for (int i = 0; i < 1000; i++)
		v.emplace_back("long enough for a block of its own, surely");
	CHECK(v.back().size() > 30);
}

} // namespace

int main()
{
	RUN(every_form_of_new_and_delete);
	RUN(blocks_of_no_bytes_differ);
	RUN(deleting_null_does_nothing);
	RUN(alignments_up_to_1_gib);
	RUN(too_much_is_bad_alloc_or_null);
	RUN(arrays_too_long);
	RUN(handler_is_asked_until_there_is_none);
	RUN(what_a_handler_throws);
	RUN(alignments_that_are_none);
	RUN(handler_is_not_asked_without_need);
	RUN(types_with_an_alignment);
	RUN(constructors_that_throw);
	RUN(memory_resources);
	return test_done();
}
