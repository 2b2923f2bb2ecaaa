// Run by cxx.sh. Without arguments: threads and containers, with a digest of all they computed.
// "exhaust": what operator new does when there is no memory. "owner LIB": every form of new and
// delete that a program can call must be defined by LIB.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

struct alignas(256) Wide {
	unsigned char bytes[512];
	Wide() { std::memset(bytes, 0x5a, sizeof bytes); }
};

struct Base {
	virtual ~Base() = default;
	virtual int value() const = 0;
};

template <int N> struct Derived : Base {
	int payload[N];
	explicit Derived(int v) { std::fill(payload, payload + N, v); }
	int value() const override { return std::accumulate(payload, payload + N, 0); }
};

void need(bool good, const char *what)
{
	if (good)
		return;
	std::fprintf(stderr, "cxx: not so: %s\n", what);
	std::exit(1);
}

// A constructor that throws: the memory must go back through the matching delete.
struct Throws {
	std::string name;
	explicit Throws(int i) : name(200 + i, 'x')
	{
		if (i % 3 == 0)
			throw std::runtime_error("number " + std::to_string(i));
	}
};

std::uint64_t exceptions(int rounds)
{
	std::uint64_t sum = 0;

	for (int i = 0; i < rounds; i++) {
		try {
			auto t = std::make_unique<Throws>(i);

			sum += t->name.size();
		} catch (const std::exception &e) {
			sum += std::strlen(e.what());
		}
		try {
			std::vector<int> v(10);

			sum += static_cast<std::uint64_t>(v.at(static_cast<std::size_t>(i)));
		} catch (const std::out_of_range &) {
			sum++;
		}
	}
	return sum;
}

std::uint64_t containers(unsigned seed)
{
	std::map<std::string, std::vector<unsigned>> tree;
	std::unordered_map<unsigned, std::string> hash;
	std::list<std::unique_ptr<Base>> objects;
	std::deque<std::string> queue;
	std::uint64_t sum = 0;
	unsigned r = seed;

	for (unsigned i = 0; i < 20000; i++) {
		r = r * 1664525u + 1013904223u;
		tree["key" + std::to_string(r % 997)].push_back(r);
		hash[r % 5003] = std::string(r % 300, static_cast<char>('a' + r % 26));
		if (r % 2)
			objects.push_back(std::make_unique<Derived<3>>(static_cast<int>(r % 100)));
		else
			objects.push_front(std::make_unique<Derived<2000>>(static_cast<int>(r % 10)));
		if (objects.size() > 200)
			objects.pop_back();
		queue.push_back(std::to_string(r));
		if (queue.size() > 1000)
			queue.pop_front();
	}
	for (const auto &[key, numbers] : tree)
		sum = sum * 31 + key.size() + std::accumulate(numbers.begin(), numbers.end(), 0u);
	for (unsigned i = 0; i < 5003; i++)
		if (auto it = hash.find(i); it != hash.end())
			sum = sum * 31 + it->second.size() + static_cast<unsigned char>(it->second[0]);
	for (const auto &o : objects)
		sum = sum * 31 + static_cast<std::uint64_t>(o->value());
	return sum + queue.size();
}

// Aligned, sized, array and nothrow forms, freed in another thread than the one that made them.
std::uint64_t forms(std::vector<std::unique_ptr<Wide[]>> &shared, std::mutex &lock)
{
	std::uint64_t sum = 0;

	for (std::size_t i = 1; i < 200; i++) {
		auto w = std::make_unique<Wide[]>(1 + i % 5);
		auto *raw = new (std::nothrow) unsigned char[i * 37];
		auto *one = new (std::align_val_t(4096), std::nothrow) char[i];
		std::unique_ptr<Wide[]> other;

		need(raw && one, "nothrow new gives memory");
		need(reinterpret_cast<std::uintptr_t>(w.get()) % 256 == 0, "alignas(256)");
		need(reinterpret_cast<std::uintptr_t>(one) % 4096 == 0, "align_val_t(4096)");
		std::memset(raw, 1, i * 37);
		sum += w[i % 5 ? 1 : 0].bytes[511] + raw[i * 37 - 1];
		::operator delete[](raw, std::nothrow);
		::operator delete[](one, std::align_val_t(4096));
		std::lock_guard<std::mutex> hold(lock);
		shared.push_back(std::move(w));
		if (shared.size() > 50) {
			other = std::move(shared[i % 50]);
			shared[i % 50] = std::move(shared.back());
			shared.pop_back();
		}
	}
	return sum;
}

int everything()
{
	std::vector<std::unique_ptr<Wide[]>> shared;
	std::vector<std::uint64_t> result(8);
	std::vector<std::thread> threads;
	std::mutex lock;

	for (unsigned t = 0; t < result.size(); t++)
		threads.emplace_back([&, t] {
			result[t] = containers(t + 1) + exceptions(2000) + forms(shared, lock);
		});
	for (auto &t : threads)
		t.join();
	for (unsigned round = 0; round < 200; round++)
		std::thread([&, round] { result[round % 8] += std::string(round * 100, 'z').size(); }).join();
	std::ostringstream text;
	for (auto r : result)
		text << std::hex << r << '\n';
	need(std::regex_search(text.str(), std::regex("^[0-9a-f]+\n")), "regex");
	std::fputs(text.str().c_str(), stdout);
	std::exception_ptr carried;
	std::thread([&] {
		try {
			throw std::runtime_error(std::string(5000, 'e'));
		} catch (...) {
			carried = std::current_exception();
		}
	}).join();
	try {
		std::rethrow_exception(carried);
	} catch (const std::exception &e) {
		std::printf("exception of another thread: %zu\n", std::strlen(e.what()));
	}
	return 0;
}

int handler_calls;

void handler()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

template <class F> void expect_bad_alloc(const char *what, F f)
{
	try {
		void *p = f();

		std::printf("%s: %s\n", what, p ? "memory" : "NULL");
	} catch (const std::bad_alloc &) {
		std::printf("%s: bad_alloc\n", what);
	}
}

int exhaust()
{
	std::size_t huge = std::size_t{1} << 40, too_much = SIZE_MAX / 2;
	std::vector<void *> blocks;

	blocks.reserve(100000);
	expect_bad_alloc("new", [&] { return ::operator new(huge); });
	expect_bad_alloc("new[]", [&] { return ::operator new[](too_much); });
	expect_bad_alloc("nothrow", [&] { return ::operator new(huge, std::nothrow); });
	expect_bad_alloc("nothrow[]", [&] { return ::operator new[](too_much, std::nothrow); });
	expect_bad_alloc("aligned", [&] { return ::operator new(huge, std::align_val_t(128)); });
	expect_bad_alloc("aligned nothrow", [&] {
		return ::operator new[](huge, std::align_val_t(128), std::nothrow);
	});
	std::set_new_handler(handler);
	expect_bad_alloc("handler", [&] { return ::operator new(huge); });
	std::printf("handler calls: %d\n", handler_calls);
	try {
		for (;;)
			blocks.push_back(::operator new(40000));
	} catch (const std::bad_alloc &) {
		std::puts("small blocks until the limit: bad_alloc");
	}
	need(blocks.size() > 1000, "many blocks before the limit");
	for (void *p : blocks)
		::operator delete(p);
	std::printf("afterwards: %zu\n", std::string(100000, 'q').size());
	return 0;
}

int owner(const char *library)
{
	static const char *const names[] = {
		"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t",
		"_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
		"_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnamSt11align_val_tRKSt9nothrow_t",
		"_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm",
		"_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t",
		"_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t",
		"_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t",
		"_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t",
	};
	int foreign = 0;

	for (const char *name : names) {
		Dl_info info;
		void *symbol = dlsym(RTLD_DEFAULT, name);

		if (symbol && dladdr(symbol, &info) && !std::strcmp(info.dli_fname, library))
			continue;
		std::fprintf(stderr, "cxx: %s is not the library's\n", name);
		foreign++;
	}
	return foreign ? 1 : 0;
}

}

int main(int argc, char **argv)
{
	if (argc == 2 && !std::strcmp(argv[1], "exhaust"))
		return exhaust();
	if (argc == 3 && !std::strcmp(argv[1], "owner"))
		return owner(argv[2]);
	return everything();
}
