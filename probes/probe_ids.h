/* enum hak_probe: HAK_P_<provider>_<name> in the order of probes.def; no libc here. */
#ifndef HAK_PROBE_IDS_H
#define HAK_PROBE_IDS_H

#define HAK_ID_(p, n) HAK_P_##p##_##n,
#define HAK_PROBE1(p, n, w, a) HAK_ID_(p, n)
#define HAK_PROBE2(p, n, w, a, b) HAK_ID_(p, n)
#define HAK_PROBE3(p, n, w, a, b, c) HAK_ID_(p, n)
#define HAK_PROBE4(p, n, w, a, b, c, d) HAK_ID_(p, n)
#define HAK_PROBE5(p, n, w, a, b, c, d, e) HAK_ID_(p, n)
#define HAK_PROBE6(p, n, w, a, b, c, d, e, f) HAK_ID_(p, n)
enum hak_probe {
#include "probes.def"
	HAK_PROBE_COUNT
};
#undef HAK_PROBE1
#undef HAK_PROBE2
#undef HAK_PROBE3
#undef HAK_PROBE4
#undef HAK_PROBE5
#undef HAK_PROBE6

#endif
