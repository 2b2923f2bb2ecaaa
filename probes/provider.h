/*
 * Names of providers in the built file. That of the heap profile's probes is the draft of another
 * project and may change: make OTEL_PROVIDER=
 */
#ifndef HAK_PROVIDER_H
#define HAK_PROVIDER_H

#ifndef HAK_OTEL_PROVIDER
#define HAK_OTEL_PROVIDER otel_memory
#endif
#define HAK_PROVIDER_hakmem hakmem
#define HAK_PROVIDER_otel_memory HAK_OTEL_PROVIDER
#define HAK_PROVIDER(p) HAK_PROVIDER_##p
#define HAK_PROVIDER_TEXT(p) HAK_TEXT_(HAK_PROVIDER(p))
#define HAK_TEXT_(p) HAK_TEXT2_(p)
#define HAK_TEXT2_(p) #p

#endif
