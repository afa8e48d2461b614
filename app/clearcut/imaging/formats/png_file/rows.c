/* Rows of a PNG image: the filter Paeth and the deflate format (W3C PNG, third edition; RFC 1950; RFC 1951).
 *
 * Each strip of rows becomes one block with its own Huffman code. Runs of zero pixels become matches at distance 1. All
 * other bytes are literals: residuals of photos have hardly any other matches.
 *
 * Compiled with: cc -O3 -fno-trapping-math -shared -fPIC -o rows.so rows.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the bit writer needs a little-endian processor"
#endif

#include "../../compiled/compiler.h"

enum { END = 256, SYMBOLS = 286, MAX_BITS = 14, MAX_MATCH = 258, PAETH = 4,
       LINE = 64, LINES = 16 /* of a block of a checksum */,
       SAMPLED = 5 /* every fifth row is counted: 5 is coprime with 8, the side of JPEG blocks */ };

/* The stream between two strips. */
typedef struct {
    uint64_t bits;   /* the last bits that are no whole byte */
    uint32_t count;  /* their number, 0..7 */
    uint32_t adler;  /* Adler-32 of all bytes so far; 1 at the start */
} Stream;

typedef struct {
    uint64_t bits;
    uint32_t count;
    uint8_t *at;
} Writer;

INLINE uint32_t load32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE uint64_t load64(const uint8_t *from) {
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void put(Writer *out, uint64_t bits, uint32_t count) {
    out->bits |= bits << out->count;
    out->count += count;
}

/* Write the whole bytes. At most 57 bits may be put between two calls. */
INLINE void flush(Writer *out) {
    memcpy(out->at, &out->bits, 8);
    out->at += out->count >> 3;
    out->bits >>= out->count & ~7u;
    out->count &= 7;
}

/* A table entry is the code, shifted by 8, and its length. Only the low 6 bits of a sum of entries are a length. */
INLINE void put_symbol(Writer *out, uint64_t entry) { put(out, entry >> 8, entry & 63); }

INLINE uint8_t smaller(uint8_t a, uint8_t b) { return a < b ? a : b; }
INLINE uint8_t larger(uint8_t a, uint8_t b) { return a > b ? a : b; }

/* Filter a row with Paeth, in 8 bits. pa, pb and pc are the distances of a, b and c from the prediction a + b - c.
 *
 * If c is between a and b, pc is the difference of pa and pb. Otherwise pc is their sum. 255 can replace the sum, which
 * may need 9 bits: neither is ever below pa or pb.
 */
CLONES static void filter_row(const uint8_t *restrict row, const uint8_t *restrict above, uint8_t *restrict to,
                              size_t size, size_t pixel) {
    for (size_t i = 0; i < pixel; i++) to[i] = (uint8_t)(row[i] - above[i]);
    for (size_t i = pixel; i < size; i++) {
        uint8_t a = row[i - pixel], b = above[i], c = above[i - pixel];
        uint8_t low_b = smaller(b, c), low_a = smaller(a, c);
        uint8_t pa = (uint8_t)(larger(b, c) - low_b), pb = (uint8_t)(larger(a, c) - low_a);
        uint8_t less = smaller(pa, pb), pc = (uint8_t)(larger(pa, pb) - less);
        uint8_t side_b = low_b == c ? 255 : 0, side_a = low_a == c ? 255 : 0;
        pc |= (uint8_t)~(side_a ^ side_b);
        uint8_t nearest = smaller(pb, pc) == pb ? b : c;
        nearest = smaller(less, pc) == pa ? a : nearest;
        to[i] = (uint8_t)(row[i] - nearest);
    }
}

/* Add LINES lines of LINE bytes to an Adler-32. The sums of a column fit 16 bits. */
CLONES static void adler_block(const uint8_t *restrict data, uint32_t *low, uint32_t *high) {
    uint16_t column[LINE] = {0}, running[LINE] = {0};
    uint32_t sum = 0, lines = 0, places = 0;
    for (uint32_t line = 0; line < LINES; line++)
        for (uint32_t i = 0; i < LINE; i++) {
            column[i] = (uint16_t)(column[i] + data[line * LINE + i]);
            running[i] = (uint16_t)(running[i] + column[i]);
        }
    for (uint32_t i = 0; i < LINE; i++) {
        sum += column[i];
        lines += running[i];
        places += i * column[i];
    }
    *high = (*high + LINE * LINES * *low + LINE * lines - places) % 65521;
    *low = (*low + sum) % 65521;
}

static uint32_t adler32(uint32_t adler, const uint8_t *data, size_t size) {
    uint32_t low = adler & 0xffff, high = adler >> 16;
    for (; size >= LINE * LINES; size -= LINE * LINES, data += LINE * LINES) adler_block(data, &low, &high);
    for (size_t i = 0; i < size; i++) {
        low += data[i];
        high += low;
    }
    return high % 65521 << 16 | low % 65521;
}

INLINE size_t zero_run(const uint8_t *data, const uint8_t *end) {
    const uint8_t *at = data;
    while (end - at >= 8 && load64(at) == 0) at += 8;
    while (at < end && *at == 0) at++;
    return (size_t)(at - data);
}

static const uint16_t LENGTHS[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                     31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t EXTRA_BITS[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

INLINE int length_symbol(size_t length) {
    int symbol = 28;
    while (LENGTHS[symbol] > length) symbol--;
    return symbol;
}

/* Write, or count if there is no writer, a run of zeros: a literal, matches, and up to two literals. */
INLINE void zeros(size_t count, const uint32_t *table, Writer *out, uint32_t *frequency) {
    size_t literals = 1;
    for (size_t left = count - 1;;) {
        if (out)
            for (; literals; literals--) put_symbol(out, table[0]), flush(out);
        else
            frequency[0] += (uint32_t)literals;
        if (left < 3) {
            if (left == 0) return;
            literals = left;
            left = 0;
            continue;
        }
        size_t match = left < MAX_MATCH ? left : MAX_MATCH;
        int symbol = length_symbol(match);
        if (out) {
            put_symbol(out, table[END + 1 + symbol]);
            put(out, match - LENGTHS[symbol], EXTRA_BITS[symbol]);
            put(out, 0, 1); /* distance 1 */
            flush(out);
        } else {
            frequency[END + 1 + symbol]++;
        }
        left -= match;
        literals = 0;
    }
}

static int ascending(const void *first, const void *second) {
    uint64_t a = *(const uint64_t *)first, b = *(const uint64_t *)second;
    return (a > b) - (a < b);
}

/* Compute the lengths of a Huffman code with at most MAX_BITS bits. All frequencies are above 0. */
static void code_lengths(const uint32_t *frequency, uint8_t *lengths) {
    uint64_t order[SYMBOLS];
    uint32_t weight[2 * SYMBOLS], codes = 0;
    int parent[2 * SYMBOLS], depth[2 * SYMBOLS], leaf = 0, node = SYMBOLS, made = SYMBOLS;
    for (uint64_t symbol = 0; symbol < SYMBOLS; symbol++) order[symbol] = (uint64_t)frequency[symbol] << 16 | symbol;
    qsort(order, SYMBOLS, sizeof order[0], ascending);
    for (int i = 0; i < SYMBOLS; i++) weight[i] = (uint32_t)(order[i] >> 16);
    for (; made < 2 * SYMBOLS - 1; made++) {
        weight[made] = 0;
        for (int child = 0; child < 2; child++) {
            int take = leaf < SYMBOLS && (node >= made || weight[leaf] <= weight[node]) ? leaf++ : node++;
            weight[made] += weight[take];
            parent[take] = made;
        }
    }
    depth[made - 1] = 0;
    for (int i = made - 2; i >= 0; i--) depth[i] = depth[parent[i]] + 1;
    /* Shorten codes that are too long, and in exchange lengthen the longest others, the rarest first. A code of n bits
     * takes 2^(MAX_BITS - n) of the 2^MAX_BITS codes. */
    for (int i = 0; i < SYMBOLS; i++) {
        if (depth[i] > MAX_BITS) depth[i] = MAX_BITS;
        codes += 1u << (MAX_BITS - depth[i]);
    }
    while (codes > 1u << MAX_BITS) {
        int longest = -1;
        for (int i = 0; i < SYMBOLS; i++)
            if (depth[i] < MAX_BITS && (longest < 0 || depth[i] > depth[longest])) longest = i;
        depth[longest]++;
        codes -= 1u << (MAX_BITS - depth[longest]);
    }
    for (int i = SYMBOLS - 1; codes < 1u << MAX_BITS; i = i ? i - 1 : SYMBOLS - 1) { /* a code must be complete */
        uint32_t share = 1u << (MAX_BITS - depth[i]);
        if (codes + share > 1u << MAX_BITS) continue;
        depth[i]--;
        codes += share;
    }
    for (int i = 0; i < SYMBOLS; i++) lengths[order[i] & 0xffff] = (uint8_t)depth[i];
}

static uint32_t reversed(uint32_t code, int bits) {
    uint32_t result = 0;
    for (; bits; bits--, code >>= 1) result = result << 1 | (code & 1);
    return result;
}

/* Write the header of a block and fill its table of codes. Each symbol gets one, because some rows are not counted. */
static void begin_block(Writer *out, uint32_t *frequency, uint32_t *table, int last) {
    static const uint8_t ORDER[18] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1};
    uint8_t lengths[SYMBOLS];
    uint32_t next[MAX_BITS + 1] = {0}, count[MAX_BITS + 1] = {0};
    for (int symbol = 0; symbol < SYMBOLS; symbol++) frequency[symbol] += frequency[symbol] == 0;
    code_lengths(frequency, lengths);
    for (int symbol = 0; symbol < SYMBOLS; symbol++) count[lengths[symbol]]++;
    for (int bits = 1; bits <= MAX_BITS; bits++) next[bits] = (next[bits - 1] + count[bits - 1]) << 1;
    for (int symbol = 0; symbol < SYMBOLS; symbol++) {
        int bits = lengths[symbol];
        table[symbol] = reversed(next[bits]++, bits) << 8 | (uint32_t)bits;
    }
    put(out, (uint64_t)(last | 2 << 1 | (SYMBOLS - 257) << 3 | (18 - 4) << 13), 17); /* one distance code */
    flush(out);
    for (int i = 0; i < 18; i++) { /* the 16 symbols 0 to 14 and 16 have 4 bits each */
        put(out, ORDER[i] > 16 ? 0 : 4, 3);
        flush(out);
    }
    for (int symbol = 0; symbol < SYMBOLS; symbol++) {
        put(out, reversed(lengths[symbol], 4), 4);
        flush(out);
    }
    put(out, reversed(1, 4), 4); /* the distance code has one bit */
    flush(out);
}

static void end_block(Writer *out, const uint32_t *table, int last, Stream *stream) {
    put_symbol(out, table[END]);
    flush(out);
    if (last && out->count) {
        out->count = 8;
        flush(out);
    }
    stream->bits = out->bits;
    stream->count = out->count;
}

/* Count the symbols of a part of the rows. */
CLONES static void count_symbols(const uint8_t *data, size_t rows, size_t row_size, uint32_t *frequency) {
    uint32_t counts[8][256];
    memset(counts, 0, sizeof counts);
    for (size_t row = 0; row < rows; row += SAMPLED) {
        const uint8_t *at = data + row * row_size, *end = at + row_size;
        counts[0][*at++]++;
        while (end - at >= 8) {
            uint64_t value = load64(at);
            if (value == 0) {
                size_t run = zero_run(at, end);
                zeros(run, NULL, NULL, frequency);
                at += run;
                continue;
            }
            for (int i = 0; i < 8; i++) counts[i][value >> 8 * i & 255]++;
            at += 8;
        }
        while (at < end) counts[0][*at++]++;
    }
    for (int symbol = 0; symbol < 256; symbol++)
        for (int i = 0; i < 8; i++) frequency[symbol] += counts[i][symbol];
}

INLINE void put_four(Writer *out, const uint32_t *table, uint32_t value) {
    uint64_t e0 = table[value & 255], e1 = table[value >> 8 & 255];
    uint64_t e2 = table[value >> 16 & 255], e3 = table[value >> 24];
    uint64_t first = e0 + e1, low = e0 >> 8 | e1 >> 8 << (e0 & 63), high = e2 >> 8 | e3 >> 8 << (e2 & 63);
    put(out, low | high << (first & 63), (first + e2 + e3) & 63);
    flush(out);
}

CLONES static void put_rows(Writer *writer, const uint32_t *table, const uint8_t *data, size_t rows, size_t row_size) {
    Writer out = *writer;
    for (size_t row = 0; row < rows; row++) {
        const uint8_t *at = data + row * row_size, *end = at + row_size;
        put_symbol(&out, table[*at++]);
        flush(&out);
        while (end - at >= 8) {
            uint64_t value = load64(at);
            if (value == 0) {
                size_t run = zero_run(at, end);
                zeros(run, table, &out, NULL);
                at += run;
                continue;
            }
            put_four(&out, table, (uint32_t)value);
            put_four(&out, table, (uint32_t)(value >> 32));
            at += 8;
        }
        for (; at < end; at++) {
            put_symbol(&out, table[*at]);
            flush(&out);
        }
    }
    *writer = out;
}

#if defined(__GNUC__) && !defined(__clang__)
typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint16_t Words __attribute__((vector_size(16)));

/* Write four RGBA pixels. pixels: RGB in the first 12 bytes. mask: 255, 255, 255, alpha or 0, 0, 0, 0 for each. */
INLINE void mask_four(const uint8_t *rgb, Words mask, uint8_t *to) {
    static const Bytes SPREAD = {0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11};
    static const Bytes OPAQUE = {0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255};
    Bytes pixels;
    memcpy(&pixels, rgb, sizeof pixels);
    pixels = (__builtin_shuffle(pixels, SPREAD) | OPAQUE) & (Bytes)mask;
    memcpy(to, &pixels, sizeof pixels);
}

/* Mask as many pixels as possible, 16 at a time, and return their number. */
INLINE size_t mask_vectors(const uint8_t *rgb, const uint8_t *alpha, uint8_t *to, size_t width) {
    static const Bytes LOW = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    static const Bytes HIGH = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    static const Words LOW_WORDS = {0, 8, 1, 9, 2, 10, 3, 11}, HIGH_WORDS = {4, 12, 5, 13, 6, 14, 7, 15};
    size_t i = 0;
    for (; i + 18 <= width; i += 16) { /* the last load reads four bytes beyond 16 pixels */
        Bytes cover;
        memcpy(&cover, alpha + i, sizeof cover);
        Bytes visible = (Bytes)(cover != 0);
        Words twice = (Words)__builtin_shuffle(visible, visible, LOW);
        Words end = (Words)__builtin_shuffle(visible, cover, LOW);
        mask_four(rgb + 3 * i, __builtin_shuffle(twice, end, LOW_WORDS), to + 4 * i);
        mask_four(rgb + 3 * i + 12, __builtin_shuffle(twice, end, HIGH_WORDS), to + 4 * i + 16);
        twice = (Words)__builtin_shuffle(visible, visible, HIGH);
        end = (Words)__builtin_shuffle(visible, cover, HIGH);
        mask_four(rgb + 3 * i + 24, __builtin_shuffle(twice, end, LOW_WORDS), to + 4 * i + 32);
        mask_four(rgb + 3 * i + 36, __builtin_shuffle(twice, end, HIGH_WORDS), to + 4 * i + 48);
    }
    return i;
}
#else
INLINE size_t mask_vectors(const uint8_t *rgb, const uint8_t *alpha, uint8_t *to, size_t width) {
    (void)rgb, (void)alpha, (void)to, (void)width;
    return 0;
}
#endif

/* Write RGBA pixels with color 0 where alpha is 0. */
CLONES static void mask_row(const uint8_t *restrict rgb, const uint8_t *restrict alpha, uint8_t *restrict to,
                            size_t width) {
    for (size_t i = mask_vectors(rgb, alpha, to, width); i < width; i++) {
        uint8_t visible = alpha[i] ? 255 : 0;
        for (size_t channel = 0; channel < 3; channel++) to[4 * i + channel] = rgb[3 * i + channel] & visible;
        to[4 * i + 3] = alpha[i];
    }
}

/* Append filtered rows as a block and return the bytes written. */
static size_t append_block(const uint8_t *filtered, size_t count, size_t row_size, uint8_t *out, Stream *stream,
                           int last) {
    uint32_t frequency[SYMBOLS] = {0}, table[SYMBOLS];
    Writer writer = {stream->bits, stream->count, out};
    stream->adler = adler32(stream->adler, filtered, count * (row_size + 1));
    count_symbols(filtered, count, row_size + 1, frequency);
    begin_block(&writer, frequency, table, last);
    put_rows(&writer, table, filtered, count, row_size + 1);
    end_block(&writer, table, last, stream);
    return (size_t)(writer.at - out);
}

/* Append a strip of rows to a stream and return the bytes written.
 *
 * rows: count rows of row_size bytes, one after the other; above: the row before them, zeros before the first one.
 * pixel: bytes of a pixel. filtered: room for count * (row_size + 1) bytes. out: room for 14 bits for each of them and
 * for 600 bytes.
 */
size_t png_strip(const uint8_t *rows, const uint8_t *above, size_t count, size_t row_size, size_t pixel,
                 uint8_t *filtered, uint8_t *out, Stream *stream, int last) {
    for (size_t row = 0; row < count; row++) {
        uint8_t *to = filtered + row * (row_size + 1);
        *to = PAETH;
        filter_row(rows + row * row_size, row ? rows + (row - 1) * row_size : above, to + 1, row_size, pixel);
    }
    return append_block(filtered, count, row_size, out, stream, last);
}

/* Append a strip of RGBA rows with color 0 where alpha is 0; otherwise as png_strip.
 *
 * rgb, alpha: count rows of width pixels. rgb_step, alpha_step: bytes from the start of a row to the start of the next.
 * lines: two rows of 4 * width bytes. The first row holds the row above the strip; after the call it holds the strip's
 * last row.
 */
size_t png_masked_strip(const uint8_t *rgb, size_t rgb_step, const uint8_t *alpha, size_t alpha_step, size_t count,
                        size_t width, uint8_t *lines, uint8_t *filtered, uint8_t *out, Stream *stream, int last) {
    size_t row_size = 4 * width;
    uint8_t *above = lines, *line = lines + row_size;
    for (size_t row = 0; row < count; row++) {
        uint8_t *to = filtered + row * (row_size + 1), *swap = above;
        mask_row(rgb + row * rgb_step, alpha + row * alpha_step, line, width);
        *to = PAETH;
        filter_row(line, above, to + 1, row_size, 4);
        above = line;
        line = swap;
    }
    if (above != lines) memcpy(lines, above, row_size);
    return append_block(filtered, count, row_size, out, stream, last);
}

/* Append rows of zeros with the filter None, below another row of zeros; otherwise as png_strip. */
size_t png_empty_strip(size_t count, size_t row_size, uint8_t *out, Stream *stream, int last) {
    uint32_t frequency[SYMBOLS] = {0}, table[SYMBOLS];
    Writer writer = {stream->bits, stream->count, out};
    size_t size = count * (row_size + 1);
    uint32_t low = stream->adler & 0xffff, high = stream->adler >> 16;
    stream->adler = (uint32_t)((high + (uint64_t)(size % 65521) * low) % 65521) << 16 | low;
    zeros(size, NULL, NULL, frequency);
    begin_block(&writer, frequency, table, last);
    zeros(size, table, &writer, NULL);
    end_block(&writer, table, last, stream);
    return (size_t)(writer.at - out);
}

/* Version of the functions above; compiled_rows.py loads no other one. */
uint32_t rows_version(void) { return 2; }
