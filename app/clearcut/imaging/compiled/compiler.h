/* Attributes of functions, for all compiled libraries. */
#ifndef CLEARCUT_COMPILER_H
#define CLEARCUT_COMPILER_H

/* CLONES compiles a function twice, for x86-64-v3 (AVX2) and for all x86-64; the loader selects one.
 * GCC 11 and older do not support this target. */
#if defined(__x86_64__) && defined(__gnu_linux__) && __GNUC__ >= 12 && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
/* INLINE inlines a function into its callers at every optimization level, so that it gets the target of each CLONES
 * function that calls it. */
#define INLINE static inline __attribute__((always_inline))

#endif
