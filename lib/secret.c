/* Numbers nobody outside the process can guess, drawn once per process. */
#include "internal.h"

#include <string.h>
#include <sys/auxv.h>

uint64_t hak_secret, hak_letter_key;

/* Where the system gives no random bytes, those it left for the C library are stirred instead. */
static uint64_t draw(unsigned i)
{
	const char *kernel = (const char *)getauxval(AT_RANDOM); /* NOLINT: an address */
	uint64_t x = os_random(), k[2] = {0};

	if (kernel)
		memcpy(k, kernel, sizeof(k));
	return x + (k[i] ^ k[!i] >> 7) * 0x9E3779B97F4A7C15U + (os_now_ns() << 20);
}

void secret_init(void)
{
	hak_secret = draw(0);
	hak_letter_key = draw(1);
}
