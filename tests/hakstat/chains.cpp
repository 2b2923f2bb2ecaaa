// Known call chains with mangled names, as chains.c.
#include <cstddef>
#include <cstdio>
#include <new>
#include <string>

#define FN __attribute__((noinline, noclone, noipa))
#define KEEP_FRAME __asm__ volatile("" ::: "memory")

namespace shapes {
static void *volatile kept;

template <int Sides> struct Box {
	FN void grow(const std::string &name) const
	{
		kept = ::operator new(((std::size_t)3 << 20) + name.size());
		KEEP_FRAME;
	}
};

FN void fill(const Box<4> &box)
{
	for (int i = 0; i < 6; i++)
		box.grow("x");
	KEEP_FRAME;
}
} // namespace shapes

int main(int argc, char **argv)
{
	std::FILE *f = argc > 1 ? std::fopen(argv[1], "w") : nullptr;

	if (!f)
		return 2;
	std::fprintf(f, "6 %zu operator new<shapes::Box<4>::grow<shapes::fill<main\n",
		     6 * (((std::size_t)3 << 20) + 1));
	std::fclose(f);
	shapes::fill(shapes::Box<4>());
	return 0;
}
