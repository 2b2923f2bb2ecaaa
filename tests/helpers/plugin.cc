// A library that is loaded and unloaded over and over: objects with constructors, thread-local
// objects with destructors, and every operator new and delete.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace
{

std::vector<std::string> at_load(100, std::string(200, 'x'));

struct Local {
	std::vector<int> numbers = std::vector<int>(1000, 7);
	std::unique_ptr<std::string> name{new std::string(5000, 'n')};
	~Local()
	{
		std::vector<std::string> while_ending(20, std::string(300, 'e'));
		name.reset();
	}
};

thread_local Local local;

struct alignas(256) Wide {
	char bytes[512];
};

bool aligned(const void *p, std::size_t to)
{
	return (reinterpret_cast<std::uintptr_t>(p) & (to - 1)) == 0;
}

} // namespace

extern "C" int plugin_work(int n)
{
	int bad = 0;
	std::vector<std::unique_ptr<Wide>> wide;
	void *p;

	for (int i = 0; i < n; i++) {
		wide.emplace_back(new Wide);
		bad += !aligned(wide.back().get(), 256);
	}
	std::unique_ptr<Wide[]> several(new Wide[7]);
	bad += !aligned(several.get(), 256);
	p = ::operator new(100);
	::operator delete(p, std::size_t(100));
	p = ::operator new[](100, std::nothrow);
	::operator delete[](p, std::nothrow);
	p = ::operator new(100, std::align_val_t(4096));
	bad += !aligned(p, 4096);
	::operator delete(p, std::size_t(100), std::align_val_t(4096));
	p = ::operator new[](100, std::align_val_t(64), std::nothrow);
	bad += !aligned(p, 64);
	::operator delete[](p, std::align_val_t(64), std::nothrow);
	bad += local.numbers[500] != 7 || local.name->size() != 5000;
	bad += at_load[99].size() != 200;
	return bad;
}

// What happens when there is no memory: bad_alloc, NULL, and the new-handler's say first.
static int handled;

static void handler()
{
	if (++handled == 3)
		std::set_new_handler(nullptr);
}

extern "C" int plugin_out_of_memory(std::size_t too_large)
{
	int caught = 0;

	std::set_new_handler(handler);
	try {
		::operator delete(::operator new(too_large));
	} catch (const std::bad_alloc &) {
		caught++;
	}
	try {
		::operator delete[](::operator new[](too_large, std::align_val_t(128)),
				    std::align_val_t(128));
	} catch (const std::bad_alloc &) {
		caught++;
	}
	return caught == 2 && handled == 3 && !::operator new(too_large, std::nothrow) &&
	       !::operator new[](too_large, std::align_val_t(64), std::nothrow);
}
