/*
 * The probes that have a semaphore: their sites, and the semaphores. These are 16-bit counts that
 * the system raises in the process while somebody is attached, and lowers when he ends, however he
 * ends. Their names are what <sys/sdt.h> asks for; .probes is where consumers expect them.
 */
#ifndef HAK_NO_PROBES
#include "probes.h"

#define DEFINE(p, n)                             \
	__attribute__((used, section(".probes"), \
		       visibility("hidden"))) unsigned short HAK_SEMAPHORE_NAME(p, n);
#define DEFINE_0(p, n)
#define DEFINE_1(p, n) DEFINE(p, n)
#define DEFINE_IF(sem, p, n) DEFINE_IF_(sem, p, n)
#define DEFINE_IF_(sem, p, n) DEFINE_##sem(HAK_PROVIDER(p), n)
#define HAK_PROBE1(p, n, w, a) DEFINE_IF(HAK_SEM, p, n)
#define HAK_PROBE2(p, n, w, a, b) DEFINE_IF(HAK_SEM, p, n)
#define HAK_PROBE3(p, n, w, a, b, c) DEFINE_IF(HAK_SEM, p, n)
#define HAK_PROBE4(p, n, w, a, b, c, d) DEFINE_IF(HAK_SEM, p, n)
#define HAK_PROBE5(p, n, w, a, b, c, d, e) DEFINE_IF(HAK_SEM, p, n)
#define HAK_PROBE6(p, n, w, a, b, c, d, e, f) DEFINE_IF(HAK_SEM, p, n)
#include "probes.def"
#undef HAK_PROBE1
#undef HAK_PROBE2
#undef HAK_PROBE3
#undef HAK_PROBE4
#undef HAK_PROBE5
#undef HAK_PROBE6

#define HAK_SEMAPHORES 1
#include "probe_sites.h"

#else
typedef int hak_no_semaphores; /* a translation unit must not be empty */
#endif
