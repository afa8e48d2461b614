/* Pixels of soft edges from values on a grid of cells: the matte of a guided fit, and the color of the foreground.
 *
 * Each function interpolates values between the centers of cells, computes the pixels of one row from them, and goes to
 * the next row. guided_filter.py and foreground.py contain the same in OpenCV, which stores every intermediate value.
 *
 * Compiled with: cc -O3 -fno-trapping-math -shared -fPIC -o edge_pixels.so edge_pixels.c
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../compiled/compiler.h"

enum { COLORS = 3, BLOCK = 16 /* pixels that are skipped together if none is soft */, AHEAD = 4 };

/* A rectangle of cells; bottom and right are exclusive. row, column: place on the sheets of the cell that is
 * above and to the left of the rectangle's first cell. */
typedef struct {
    int64_t top, bottom, left, right, row, column;
} Span;

/* Values of cells: rows of row_size floats. Around each span, a sheet has one more cell on every side. */
typedef struct {
    const float *values;
    int64_t row_size;
} Sheet;

typedef struct {
    int64_t height, width; /* of the image in pixels */
    int64_t step;          /* side of a cell */
    int64_t columns;       /* cells that are processed together */
    const float *weights;  /* of the second of two cells at each pixel of a cell: linear between their centers */
} Grid;

/* Coefficients of the matte on the grid: three and one for each cell. Outside it, the outermost cells are repeated. */
typedef struct {
    const float *slope, *offset;
    int64_t slope_step, offset_step, height, width;
} Coefficients;

enum { EMPTY, OPAQUE, MIXED };

INLINE float mix(float first, float second, float weight) { return first + (second - first) * weight; }

/* Round to the nearest level and limit to 0..255. */
INLINE uint8_t to_level(float value) {
    value = value > 0 ? value : 0;
    value = value < 255 ? value : 255;
    float shifted = value + 8388608.0f; /* 2^23: the last bit of the sum is worth 1 */
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (uint8_t)bits;
}

INLINE int64_t minimum(int64_t first, int64_t second) { return first < second ? first : second; }

INLINE int64_t limit(int64_t value, int64_t lowest, int64_t highest) {
    return value < lowest ? lowest : value > highest ? highest : value;
}

/* Request a row of memory that is used AHEAD rows later: short parts of rows have no pattern that the CPU detects. */
INLINE void prefetch(const uint8_t *row, int64_t size) {
#if defined(__GNUC__)
    for (int64_t i = 0; i < size; i += 64) __builtin_prefetch(row + i, 1);
#else
    (void)row, (void)size;
#endif
}

/* Interpolate a row of interleaved values along the row, to one value for each pixel of `cells` cells. */
INLINE void expand(const float *from, int64_t cells, int64_t channels, const Grid *grid, float *to) {
    int64_t half = grid->step / 2;
    for (int64_t cell = 0; cell < cells; cell++, from += channels) {
        for (int64_t i = 0; i < grid->step; i++) {
            const float *left = i < half ? from : from + channels, *right = left + channels;
            for (int64_t channel = 0; channel < channels; channel++)
                *to++ = mix(left[channel], right[channel], grid->weights[i]);
        }
    }
}

/* As expand, with each channel in a row of its own; `size` is the distance between these rows. */
INLINE void expand_planes(const float *from, int64_t cells, int64_t channels, const Grid *grid, float *to,
                          int64_t size) {
    int64_t half = grid->step / 2;
    for (int64_t channel = 0; channel < channels; channel++) {
        const float *value = from + channel;
        float *at = to + channel * size;
        for (int64_t cell = 0; cell < cells; cell++, value += channels) {
            float left = value[0], own = value[channels], right = value[2 * channels];
            for (int64_t i = 0; i < half; i++) *at++ = mix(left, own, grid->weights[i]);
            for (int64_t i = half; i < grid->step; i++) *at++ = mix(own, right, grid->weights[i]);
        }
    }
}

/* Load `count` cells of a row from column `first` on, four values each. Write to `kinds` whether a cell is empty or
 * opaque for any color. */
static void load_row(const Coefficients *from, int64_t row, int64_t first, int64_t count, float *to, uint8_t *kinds) {
    row = limit(row, 0, from->height - 1);
    for (int64_t i = 0; i < count; i++, to += 4) {
        int64_t column = limit(first + i, 0, from->width - 1);
        const float *slope = from->slope + row * from->slope_step + 3 * column;
        float lowest = to[3] = from->offset[row * from->offset_step + column], highest = lowest;
        for (int channel = 0; channel < COLORS; channel++) {
            float range = 255 * (to[channel] = slope[channel]);
            lowest += range < 0 ? range : 0;
            highest += range > 0 ? range : 0;
        }
        kinds[i] = highest < 0.4f ? EMPTY : lowest > 254.6f ? OPAQUE : MIXED; /* as rounded */
    }
}

/* Return the kind of the pixels of a cell, which are between its values and those of its neighbors. */
INLINE uint8_t kind_of(const uint8_t *above, const uint8_t *below) {
    uint8_t kind = above[0];
    for (int i = 0; i < 3; i++)
        if (above[i] != kind || below[i] != kind) return MIXED;
    return kind;
}

CLONES static void alpha_row(const uint8_t *restrict rgb, const float *restrict above, const float *restrict below,
                             int64_t size, float weight, int64_t count, uint8_t *restrict alpha) {
    for (int64_t x = 0; x < count; x++) {
        float value = mix(above[3 * size + x], below[3 * size + x], weight);
        value += mix(above[x], below[x], weight) * (float)rgb[3 * x];
        value += mix(above[size + x], below[size + x], weight) * (float)rgb[3 * x + 1];
        value += mix(above[2 * size + x], below[2 * size + x], weight) * (float)rgb[3 * x + 2];
        alpha[x] = to_level(value);
    }
}

/* Write alpha = slope . color + offset at the pixels of the spans, which have no place on a sheet.
 *
 * rgb: u8[height,width,3]. alpha: u8[height,width]. rows: memory for 8 floats for each pixel of grid->columns
 * cells, and for 5 floats for each of grid->columns + 2 cells.
 */
CLONES void edge_alpha(const Grid *grid, const Span *spans, int64_t count, const Coefficients *coefficients,
                       const uint8_t *rgb, int64_t rgb_step, uint8_t *alpha, int64_t alpha_step, float *rows) {
    const int64_t channels = 4, step = grid->step, half = step / 2, size = grid->columns * step;
    float *line = rows + 2 * channels * size;
    uint8_t *kinds = (uint8_t *)(line + channels * (grid->columns + 2)), *above_kinds = kinds + grid->columns + 2;
    for (const Span *span = spans; span < spans + count; span++) {
        for (int64_t left = span->left; left < span->right; left += grid->columns) {
            int64_t cells = minimum(grid->columns, span->right - left), first = left * step;
            int64_t width = minimum(cells * step, grid->width - first), below_row = -1;
            float *above = rows, *below = rows + channels * size;
            int64_t bottom = minimum(span->bottom * step, grid->height);
            for (int64_t y = span->top * step; y < bottom; y++) {
                if (y + AHEAD < bottom) prefetch(rgb + (y + AHEAD) * rgb_step + COLORS * first, COLORS * width);
                int64_t phase = y % step, above_row = y / step - span->top + (phase >= half);
                for (; below_row < above_row + 1; below_row++) { /* load both rows of cells */
                    float *swap = above;
                    above = below;
                    below = swap;
                    memcpy(above_kinds, kinds, (size_t)(cells + 2));
                    load_row(coefficients, span->top + below_row, left - 1, cells + 2, line, kinds);
                    expand_planes(line, cells, channels, grid, below, size);
                }
                for (int64_t cell = 0, next; cell < cells; cell = next) { /* neighbors of one kind */
                    uint8_t kind = kind_of(above_kinds + cell, kinds + cell);
                    for (next = cell + 1; next < cells && kind_of(above_kinds + next, kinds + next) == kind;) next++;
                    int64_t begin = cell * step, length = minimum(next * step, width) - begin;
                    uint8_t *to = alpha + y * alpha_step + first + begin;
                    if (length <= 0) break;
                    if (kind == MIXED)
                        alpha_row(rgb + y * rgb_step + 3 * (first + begin), above + begin, below + begin, size,
                                  grid->weights[phase], length, to);
                    else
                        memset(to, kind == OPAQUE ? 255 : 0, (size_t)length);
                }
            }
        }
    }
}

/* Return whether a pixel is neither empty nor opaque. */
INLINE int any_soft(const uint8_t *alpha, int64_t count) {
    uint8_t soft = 0;
    for (int64_t i = 0; i < count; i++) soft |= (uint8_t)(alpha[i] + 1) > 1;
    return soft;
}

/* Repeat each of BLOCK levels of alpha for every channel; 0 becomes 255. */
INLINE void spread(const uint8_t *alpha, int64_t count, uint8_t *to) {
#if defined(__GNUC__) && !defined(__clang__)
    typedef uint8_t Bytes __attribute__((vector_size(16)));
    static const Bytes PLACES[COLORS] = {{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5},
                                         {5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10},
                                         {10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15}};
    if (count == BLOCK) {
        Bytes cover;
        memcpy(&cover, alpha, sizeof cover);
        cover |= (Bytes)(cover == 0);
        for (int64_t i = 0; i < COLORS; i++) {
            Bytes repeated = __builtin_shuffle(cover, PLACES[i]);
            memcpy(to + BLOCK * i, &repeated, sizeof repeated);
        }
        return;
    }
#endif
    for (int64_t i = 0; i < count; i++) to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = alpha[i] ? alpha[i] : 255;
}

/* Remove the share of the background from at most BLOCK pixels. above, below: subject and excess of two cells. */
INLINE void correct_block(uint8_t *restrict rgb, const uint8_t *alpha, const float *restrict above,
                          const float *restrict below, float weight, int64_t excess, int64_t count) {
    uint8_t cover[COLORS * BLOCK];
    spread(alpha, count, cover);
    for (int64_t i = 0; i < COLORS * count; i++) {
        float share = (float)cover[i] * (1.0f / 255), estimate = mix(above[i], below[i], weight);
        estimate += mix(above[excess + i], below[excess + i], weight) * share;
        rgb[i] = to_level(estimate + ((float)rgb[i] - estimate) * share);
    }
}

CLONES static void correct_row(uint8_t *rgb, const uint8_t *alpha, const float *above, const float *below, float weight,
                               int64_t excess, int64_t count) {
    int64_t x = 0;
    for (; x + BLOCK <= count; x += BLOCK)
        if (any_soft(alpha + x, BLOCK))
            correct_block(rgb + 3 * x, alpha + x, above + 3 * x, below + 3 * x, weight, excess, BLOCK);
    if (any_soft(alpha + x, count - x))
        correct_block(rgb + 3 * x, alpha + x, above + 3 * x, below + 3 * x, weight, excess, count - x);
}

/* Correct the colors of soft pixels in the spans: subject + alpha * (rgb - subject - (1 - alpha) * (background -
 * subject)), where excess = subject - background.
 *
 * subject, excess: sheets of three values for each cell. rgb: u8[height,width,3], changed in place. alpha:
 * u8[height,width]. rows: memory for 12 floats for each pixel of grid->columns cells.
 */
CLONES void edge_colors(const Grid *grid, const Span *spans, int64_t count, Sheet subject, Sheet excess, uint8_t *rgb,
                        int64_t rgb_step, const uint8_t *alpha, int64_t alpha_step, float *rows) {
    const int64_t step = grid->step, half = step / 2, size = COLORS * grid->columns * step;
    for (const Span *span = spans; span < spans + count; span++) {
        for (int64_t left = span->left; left < span->right; left += grid->columns) {
            int64_t cells = minimum(grid->columns, span->right - left), first = left * step;
            int64_t width = minimum(cells * step, grid->width - first), below_row = -1;
            int64_t column = COLORS * (span->column + left - span->left);
            float *above = rows, *below = rows + 2 * size;
            int64_t bottom = minimum(span->bottom * step, grid->height);
            for (int64_t y = span->top * step; y < bottom; y++) {
                if (y + AHEAD < bottom) {
                    prefetch(rgb + (y + AHEAD) * rgb_step + COLORS * first, COLORS * width);
                    prefetch(alpha + (y + AHEAD) * alpha_step + first, width);
                }
                int64_t phase = y % step, above_row = y / step - span->top + (phase >= half);
                for (; below_row < above_row + 1; below_row++) { /* load both rows of the sheets */
                    int64_t row = span->row + below_row + 1;
                    float *swap = above;
                    above = below;
                    below = swap;
                    expand(subject.values + row * subject.row_size + column, cells, COLORS, grid, below);
                    expand(excess.values + row * excess.row_size + column, cells, COLORS, grid, below + size);
                }
                correct_row(rgb + y * rgb_step + 3 * first, alpha + y * alpha_step + first, above, below,
                            grid->weights[phase], size, width);
            }
        }
    }
}

/* Version of the functions above; compiled_pixels.py loads no other one. */
uint32_t edge_pixels_version(void) { return 2; }
