/* Attributes of functions, for all compiled libraries. */
#ifndef CLEARCUT_COMPILER_H
#define CLEARCUT_COMPILER_H

/* CLONES compiles a function for AVX2 and for every x86-64 processor; the loader selects one of the two.
 * GCC 11 and older do not know the target. */
#if defined(__x86_64__) && defined(__gnu_linux__) && __GNUC__ >= 12 && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

#endif
