/* Values of grid cells: the coefficients of the guided filter, and the colors of subject and background.
 *
 * guided_filter.py and foreground.py contain the same in OpenCV, which stores every intermediate plane.
 *
 * Compiled with: cc -O3 -fno-trapping-math -shared -fPIC -o grid_cells.so grid_cells.c
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../compiled/compiler.h"

/* Planes of the fit: means of red, green, blue and target, then means of their products. */
enum { R, G, B, T, RR, GG, BB, TT, RG, GB, BR, TR, TG, TB, MOMENTS };
enum { RADIUS = 2, /* of a fitting window, in blocks */
       WINDOW = 2 * RADIUS + 1, COEFFICIENTS = 4, SAMPLES = 16 /* 4 values of the 4 cells of a block */ };

INLINE int64_t limit(int64_t value, int64_t lowest, int64_t highest) {
    return value < lowest ? lowest : value > highest ? highest : value;
}

/* Mirror an index at the borders of `size` values; the outermost value is repeated. */
INLINE int64_t mirrored(int64_t index, int64_t size) {
    while (index < 0 || index >= size) index = index < 0 ? -1 - index : 2 * size - 1 - index;
    return index;
}

typedef struct {
    float epsilon, gain;
} Regularization;

/* Distribute two rows of cells over rows of blocks, one row for each place in a block. */
CLONES static void load_blocks(const uint8_t *restrict guide, const float *restrict target, int64_t width, float gain,
                               int64_t blocks, float *restrict samples) {
    for (int64_t i = 0; i < width / 2; i++) {
        for (int64_t channel = 0; channel < 3; channel++) {
            samples[channel * blocks + i] = guide[6 * i + channel];
            samples[(4 + channel) * blocks + i] = guide[6 * i + 3 + channel];
        }
        samples[3 * blocks + i] = target[2 * i] * gain;
        samples[7 * blocks + i] = target[2 * i + 1] * gain;
    }
    if (width % 2) { /* the last column is repeated */
        int64_t i = blocks - 1;
        for (int64_t channel = 0; channel < 3; channel++)
            samples[channel * blocks + i] = samples[(4 + channel) * blocks + i] = guide[6 * i + channel];
        samples[3 * blocks + i] = samples[7 * blocks + i] = target[2 * i] * gain;
    }
}

/* Sum the values and products of each block; `to` has RADIUS more values on each side of a row. */
CLONES static void sum_blocks(const float *restrict samples, int64_t blocks, float *restrict to, int64_t to_step) {
    for (int64_t i = 0; i < blocks; i++) {
        float sums[MOMENTS] = {0};
        for (int cell = 0; cell < 4; cell++) {
            const float *at = samples + 4 * cell * blocks + i;
            float r = at[0], g = at[blocks], b = at[2 * blocks], t = at[3 * blocks];
            sums[R] += r, sums[G] += g, sums[B] += b, sums[T] += t;
            sums[RR] += r * r, sums[GG] += g * g, sums[BB] += b * b, sums[TT] += t * t;
            sums[RG] += r * g, sums[GB] += g * b, sums[BR] += b * r;
            sums[TR] += t * r, sums[TG] += t * g, sums[TB] += t * b;
        }
        for (int plane = 0; plane < MOMENTS; plane++) to[plane * to_step + RADIUS + i] = sums[plane];
    }
}

/* Sum windows along rows; `from` has RADIUS more values on each side, which are set here. */
CLONES static void sum_along(float *restrict from, int64_t from_step, int64_t planes, int64_t count,
                             float *restrict to) {
    for (int64_t plane = 0; plane < planes; plane++) {
        float *row = from + plane * from_step, *sums = to + plane * count;
        for (int64_t i = 1; i <= RADIUS; i++) {
            row[RADIUS - i] = row[RADIUS + mirrored(-i, count)];
            row[RADIUS + count - 1 + i] = row[RADIUS + mirrored(count - 1 + i, count)];
        }
        for (int64_t i = 0; i < count; i++) {
            float sum = row[i];
            for (int64_t j = 1; j < WINDOW; j++) sum += row[i + j];
            sums[i] = sum;
        }
    }
}

/* Sum WINDOW rows. */
CLONES static void sum_rows(const float *const *rows, int64_t count, float scale, float *restrict to) {
    const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3], *e = rows[4];
    for (int64_t i = 0; i < count; i++) to[i] = (a[i] + b[i] + c[i] + d[i] + e[i]) * scale;
}

/* Solve the fit of each window: elimination in the symmetric 3 x 3 covariance. Rounding would destroy its determinant
 * in windows with two colors. sums: a row of each moment. to: rows of slope and offset. */
CLONES static void solve_row(const float *restrict sums, int64_t blocks, Regularization regularization,
                             float *restrict to, int64_t to_step, float *restrict r_squared) {
    const float cells = 4 * WINDOW * WINDOW, mean = 1 / cells, level = 1.0f / 255;
    const float epsilon = regularization.epsilon, shift = (1 - regularization.gain) / 2;
    for (int64_t i = 0; i < blocks; i++) {
        const float *at = sums + i;
        float m_r = at[R * blocks] * mean, m_g = at[G * blocks] * mean, m_b = at[B * blocks] * mean;
        float m_t = at[T * blocks] * mean;
        float rr = (at[RR * blocks] * mean - m_r * m_r) * (level * level) + epsilon;
        float gg = (at[GG * blocks] * mean - m_g * m_g) * (level * level) + epsilon;
        float bb = (at[BB * blocks] * mean - m_b * m_b) * (level * level) + epsilon;
        float tt = at[TT * blocks] * mean - m_t * m_t;
        float rg = (at[RG * blocks] * mean - m_r * m_g) * (level * level);
        float gb = (at[GB * blocks] * mean - m_g * m_b) * (level * level);
        float br = (at[BR * blocks] * mean - m_b * m_r) * (level * level);
        float tr = (at[TR * blocks] * mean - m_t * m_r) * level;
        float tg = (at[TG * blocks] * mean - m_t * m_g) * level;
        float tb = (at[TB * blocks] * mean - m_t * m_b) * level;
        float rg_r = rg / rr, br_r = br / rr, explained = tr * tr / rr;
        gg -= rg_r * rg;
        gb -= rg_r * br;
        float gb_g = gb / gg;
        tg -= rg_r * tr;
        tb = tb - br_r * tr - gb_g * tg;
        float s_b = tb / (bb - br_r * br - gb_g * gb);
        float s_g = tg / gg - gb_g * s_b;
        float s_r = tr / rr - rg_r * s_g - br_r * s_b;
        r_squared[i] = (explained + tg * tg / gg + tb * s_b) / (tt > epsilon ? tt : epsilon);
        to[i] = s_r;
        to[to_step + i] = s_g;
        to[2 * to_step + i] = s_b;
        to[3 * to_step + i] = (m_t + shift) * 255 - (s_r * m_r + s_g * m_g + s_b * m_b);
    }
}

/* Interpolate rows of blocks to a row of cells: linear between block centers. first, second: rows of some planes.
 * mixed: memory for a row of blocks. */
CLONES static void expand_blocks(const float *restrict first, const float *restrict second, float weight,
                                 int64_t planes, int64_t blocks, float *restrict mixed, float *restrict cells) {
    for (int64_t plane = 0; plane < planes; plane++) {
        const float *a = first + plane * blocks, *b = second + plane * blocks;
        float *to = cells + 2 * plane * blocks;
        for (int64_t i = 0; i < blocks; i++) mixed[i] = a[i] + (b[i] - a[i]) * weight;
        for (int64_t i = 0; i + 1 < blocks; i++) {
            to[2 * i + 1] = 0.75f * mixed[i] + 0.25f * mixed[i + 1];
            to[2 * i + 2] = 0.25f * mixed[i] + 0.75f * mixed[i + 1];
        }
        to[0] = mixed[0];
        to[2 * blocks - 1] = mixed[blocks - 1];
    }
}

/* Return the number of floats of working memory for fit_cells. */
int64_t fit_cells_floats(int64_t height, int64_t width) {
    int64_t rows = (height + 1) / 2, blocks = (width + 1) / 2, padded = blocks + 2 * RADIUS;
    return SAMPLES * blocks + MOMENTS * padded + (WINDOW + 1) * MOMENTS * blocks + COEFFICIENTS * padded +
           2 * rows * COEFFICIENTS * blocks + blocks + 2 * COEFFICIENTS * blocks;
}

/* Fit the colors of cells to a target in windows around every block of 2 x 2 cells.
 *
 * guide: u8[height,width,3]. target: f32[height,width], target_step values from row to row. edge: u8[height,width].
 * slope, offset: coefficients of levels, three and one for each cell; changed where edge is 1. level: f32[height,
 * width], the value of the fit at the color of each cell. r_squared: f32[ceil(height / 2), ceil(width / 2)], share of
 * the target's variance that the colors explain. memory: see fit_cells_floats.
 */
void fit_cells(const uint8_t *guide, int64_t guide_step, const float *target, int64_t target_step, const uint8_t *edge,
               int64_t edge_step, int64_t height, int64_t width, Regularization regularization, float *slope,
               int64_t slope_step, float *offset, int64_t offset_step, float *level, float *r_squared, float *memory) {
    const int64_t rows = (height + 1) / 2, blocks = (width + 1) / 2, padded = blocks + 2 * RADIUS;
    float *samples = memory, *sums = samples + SAMPLES * blocks, *ring = sums + MOMENTS * padded;
    float *moments = ring + WINDOW * MOMENTS * blocks, *solved = moments + MOMENTS * blocks;
    float *along = solved + COEFFICIENTS * padded, *smooth = along + rows * COEFFICIENTS * blocks;
    float *mixed = smooth + rows * COEFFICIENTS * blocks, *cells = mixed + blocks;
    const float *window[WINDOW];
    for (int64_t row = 0; row < rows + RADIUS; row++) {
        if (row < rows) {
            int64_t second = 2 * row + 1 < height ? 2 * row + 1 : height - 1;
            load_blocks(guide + 2 * row * guide_step, target + 2 * row * target_step, width, regularization.gain,
                        blocks, samples);
            load_blocks(guide + second * guide_step, target + second * target_step, width, regularization.gain,
                        blocks, samples + SAMPLES / 2 * blocks);
            sum_blocks(samples, blocks, sums, padded);
            sum_along(sums, padded, MOMENTS, blocks, ring + row % WINDOW * MOMENTS * blocks);
        }
        int64_t center = row - RADIUS;
        if (center < 0) continue;
        for (int64_t i = 0; i < WINDOW; i++)
            window[i] = ring + mirrored(center - RADIUS + i, rows) % WINDOW * MOMENTS * blocks;
        sum_rows(window, MOMENTS * blocks, 1, moments);
        solve_row(moments, blocks, regularization, solved + RADIUS, padded, r_squared + center * blocks);
        sum_along(solved, padded, COEFFICIENTS, blocks, along + center * COEFFICIENTS * blocks);
    }
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t i = 0; i < WINDOW; i++)
            window[i] = along + mirrored(row - RADIUS + i, rows) * COEFFICIENTS * blocks;
        sum_rows(window, COEFFICIENTS * blocks, 1.0f / (WINDOW * WINDOW), smooth + row * COEFFICIENTS * blocks);
    }
    for (int64_t y = 0; y < height; y++) {
        const uint8_t *inside = edge + y * edge_step, *color = guide + y * guide_step;
        float *own_slope = slope + y * slope_step, *own_offset = offset + y * offset_step;
        float *own_level = level + y * width;
        memcpy(own_level, own_offset, (size_t)width * sizeof(float));
        if (!memchr(inside, 1, (size_t)width)) continue;
        int64_t first = limit((y - 1) >> 1, 0, rows - 1), second = limit(first + (y > 0), 0, rows - 1);
        expand_blocks(smooth + first * COEFFICIENTS * blocks, smooth + second * COEFFICIENTS * blocks,
                      y % 2 ? 0.25f : 0.75f, COEFFICIENTS, blocks, mixed, cells);
        for (int64_t x = 0; x < width; x++) {
            if (!inside[x]) continue;
            float r = cells[x], g = cells[2 * blocks + x], b = cells[4 * blocks + x], rest = cells[6 * blocks + x];
            own_slope[3 * x] = r;
            own_slope[3 * x + 1] = g;
            own_slope[3 * x + 2] = b;
            own_offset[x] = rest;
            own_level[x] = r * color[3 * x] + g * color[3 * x + 1] + b * color[3 * x + 2] + rest;
        }
    }
}

/* Write whether each cell is opaque, and whether it is visible, for all colors within `contrast` levels per channel. */
CLONES static void flag_row(const float *restrict slope, const float *restrict level, int64_t width, float contrast,
                            uint8_t *restrict opaque, uint8_t *restrict visible) {
    for (int64_t x = 0; x < width; x++) {
        float deviation = __builtin_fabsf(slope[3 * x]) + __builtin_fabsf(slope[3 * x + 1]);
        deviation = (deviation + __builtin_fabsf(slope[3 * x + 2])) * contrast;
        opaque[x] = level[x] - deviation > 254.5f; /* as it will be rounded */
        visible[x] = level[x] + deviation > 0.5f;
    }
}

/* Combine three rows of flags in windows of 3 x 3 cells. all, any: memory for a row. */
CLONES static void combine_row(const uint8_t *const *opaque, const uint8_t *const *visible, int64_t width,
                               uint8_t *restrict all, uint8_t *restrict any, uint8_t *restrict to_opaque,
                               uint8_t *restrict to_mixed) {
    const uint8_t *a = opaque[0], *b = opaque[1], *c = opaque[2], *d = visible[0], *e = visible[1], *f = visible[2];
    for (int64_t x = 0; x < width; x++) {
        all[x] = a[x] & b[x] & c[x];
        any[x] = d[x] | e[x] | f[x];
    }
    for (int64_t x = 1; x + 1 < width; x++) {
        to_opaque[x] = all[x - 1] & all[x] & all[x + 1];
        to_mixed[x] = (any[x - 1] | any[x] | any[x + 1]) & (to_opaque[x] ^ 1);
    }
    for (int64_t x = 0; x < width; x += width > 1 ? width - 1 : 1) {
        int64_t left = limit(x - 1, 0, width - 1), right = limit(x + 1, 0, width - 1);
        to_opaque[x] = all[left] & all[x] & all[right];
        to_mixed[x] = (any[left] | any[x] | any[right]) & (to_opaque[x] ^ 1);
    }
}

/* Write the class of each cell: u8[height,width] of 0 or 1 each.
 *
 * opaque: all pixels of the cell are opaque. mixed: the cell is not opaque, and some of its pixels can have alpha above
 * 0. A pixel differs from its cell by at most `contrast` levels per channel, and lies between its cell and
 * the neighbors. flags: memory for 8 * width bytes.
 */
void classify_cells(const float *slope, int64_t slope_step, const float *level, int64_t height, int64_t width,
                    float contrast, uint8_t *opaque, int64_t opaque_step, uint8_t *mixed, int64_t mixed_step,
                    uint8_t *flags) {
    uint8_t *all = flags + 6 * width, *any = all + width;
    for (int64_t y = -1; y < height; y++) {
        int64_t next = y + 1;
        if (next < height) {
            uint8_t *row = flags + next % 3 * 2 * width;
            flag_row(slope + next * slope_step, level + next * width, width, contrast, row, row + width);
        }
        if (y < 0) continue;
        const uint8_t *rows[3], *visible[3];
        for (int64_t i = 0; i < 3; i++) {
            rows[i] = flags + limit(y - 1 + i, 0, height - 1) % 3 * 2 * width;
            visible[i] = rows[i] + width;
        }
        combine_row(rows, visible, width, all, any, opaque + y * opaque_step, mixed + y * mixed_step);
    }
}

/* A rectangle of cells; bottom and right are exclusive. row, column: place on the sheets of the cell that is
 * above and to the left of the rectangle's first cell. */
typedef struct {
    int64_t top, bottom, left, right, row, column;
} Span;

/* A part of the grid: u8[height,width,3] and u8[height,width]. top, left: place of its first cell on the grid. */
typedef struct {
    const uint8_t *rgb, *alpha;
    int64_t rgb_step, alpha_step, height, width, top, left;
} Part;

typedef struct {
    int64_t near, far;    /* radius of the near window in cells, and of the far one in blocks of 2 x 2 cells */
    float far_share;      /* weight of the far window */
    float least;          /* lowest weight of a cell in the second pass */
    const float *weights; /* of a cell as subject by its alpha, f32[256] */
    const uint8_t *far_weights; /* the same for the far window, in 1/255 */
} Weighting;

enum { SPAN_PLANES = 12 }; /* of a span: own color, its weights as subject and background, alpha, subject, background */

/* Write the weighted colors of the blocks of a row, 4 values for each, rounded as in OpenCV's 16 bits. */
static void weigh_blocks(const Part *part, int64_t row, const uint8_t *weights, int64_t blocks, uint32_t *to) {
    memset(to, 0, (size_t)(4 * blocks) * sizeof *to);
    for (int64_t line = 0; line < 2; line++) {
        int64_t y = limit(2 * row + line, 0, part->height - 1);
        const uint8_t *rgb = part->rgb + y * part->rgb_step, *alpha = part->alpha + y * part->alpha_step;
        for (int64_t x = 0; x < 2 * blocks; x++) {
            int64_t cell = x < part->width ? x : part->width - 1;
            uint32_t weight = weights[alpha[cell]];
            if (!weight) continue;
            uint32_t *sums = to + x / 2;
            sums[0] += weight * rgb[3 * cell];
            sums[blocks] += weight * rgb[3 * cell + 1];
            sums[2 * blocks] += weight * rgb[3 * cell + 2];
            sums[3 * blocks] += weight * 255;
        }
    }
    for (int64_t i = 0; i < 4 * blocks; i++) to[i] = (to[i] + 2) / 4;
}

/* Sum windows of 2 * radius + 1 values along four rows. padded: memory for a row and radius values on both sides. */
CLONES static void sum_blocks_along(const uint32_t *restrict from, int64_t blocks, int64_t radius,
                                    uint32_t *restrict padded, uint32_t *restrict to) {
    for (int64_t plane = 0; plane < 4; plane++, from += blocks, to += blocks) {
        for (int64_t i = -radius; i < blocks + radius; i++) padded[radius + i] = from[mirrored(i, blocks)];
        memset(to, 0, (size_t)blocks * sizeof *to);
        for (int64_t j = 0; j <= 2 * radius; j++)
            for (int64_t i = 0; i < blocks; i++) to[i] += padded[i + j];
    }
}

CLONES static void add_row(const uint32_t *restrict from, int64_t count, uint32_t *restrict to) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

CLONES static void scale_row(const uint32_t *restrict from, int64_t count, float scale, float *restrict to) {
    for (int64_t i = 0; i < count; i++) to[i] = (float)(int32_t)from[i] * scale; /* below 2^31 */
}

/* Write the weighted color sums of the far window around each block, times far_share.
 *
 * far: for each row of blocks, four rows of values. along: memory as large as `far`, for four more rows of `blocks`
 * values, and for blocks + 2 * weighting->far values.
 */
static void far_blocks(const Part *part, const Weighting *weighting, int64_t rows, int64_t blocks, uint32_t *along,
                       float *far) {
    const int64_t side = 2 * weighting->far + 1, row_size = 4 * blocks;
    uint32_t *sums = along + rows * row_size, *padded = sums + row_size;
    for (int64_t row = 0; row < rows; row++) {
        weigh_blocks(part, row, weighting->far_weights, blocks, sums);
        sum_blocks_along(sums, blocks, weighting->far, padded, along + row * row_size);
    }
    for (int64_t row = 0; row < rows; row++) {
        memset(sums, 0, (size_t)row_size * sizeof *sums);
        for (int64_t i = -weighting->far; i <= weighting->far; i++)
            add_row(along + mirrored(row + i, rows) * row_size, row_size, sums);
        scale_row(sums, row_size, weighting->far_share / (255.0f * (float)(side * side)), far + row * row_size);
    }
}

/* Interpolate `far` to the cells of a row: four rows of `width` values from column `left` on. Outside the part, the
 * outermost cells are repeated. cells: memory for 2 * blocks + 2 values. */
static void far_row(const Part *part, const float *far, int64_t rows, int64_t blocks, int64_t y, int64_t left,
                    int64_t width, float *cells, float *to) {
    const int64_t first = limit((y - 1) >> 1, 0, rows - 1), second = limit(first + (y > 0), 0, rows - 1);
    const int64_t begin = limit(left, 0, part->width - 1), end = limit(left + width - 1, 0, part->width - 1);
    const int64_t from = limit(begin / 2 - 1, 0, blocks - 1), last = limit(end / 2 + 1, 0, blocks - 1);
    const float weight = y % 2 ? 0.25f : 0.75f;
    for (int64_t plane = 0; plane < 4; plane++, to += width) {
        const float *a = far + (4 * first + plane) * blocks, *b = far + (4 * second + plane) * blocks;
        float before = a[from] + (b[from] - a[from]) * weight;
        cells[2 * from] = before;
        for (int64_t i = from; i < last; i++) {
            float next = a[i + 1] + (b[i + 1] - a[i + 1]) * weight;
            cells[2 * i + 1] = 0.75f * before + 0.25f * next;
            cells[2 * i + 2] = 0.25f * before + 0.75f * next;
            before = next;
        }
        cells[2 * last + 1] = before;
        for (int64_t x = 0; x < width; x++) to[x] = cells[limit(left + x, 0, part->width - 1)];
    }
}

/* Load a row of cells and their weights. Outside the part, the outermost cells are repeated. */
static void load_cells(const Part *part, const Weighting *weighting, int64_t y, int64_t left, int64_t width,
                       int64_t plane, float *to) {
    const uint8_t *rgb = part->rgb + limit(y, 0, part->height - 1) * part->rgb_step;
    const uint8_t *alpha = part->alpha + limit(y, 0, part->height - 1) * part->alpha_step;
    for (int64_t x = 0; x < width; x++) {
        int64_t cell = limit(left + x, 0, part->width - 1);
        to[x] = rgb[3 * cell];
        to[plane + x] = rgb[3 * cell + 1];
        to[2 * plane + x] = rgb[3 * cell + 2];
        to[3 * plane + x] = weighting->weights[alpha[cell]];
        to[4 * plane + x] = weighting->weights[255 - alpha[cell]];
        to[5 * plane + x] = alpha[cell] * (1.0f / 255);
    }
}

/* Write weighted means of three planes of colors over square windows, for a row without `inset` cells on each side.
 * far_sums: four rows that are added to the sums, or NULL. sums: memory for four rows. */
INLINE void mean_row(const float *restrict color, const float *restrict weight, int64_t plane, int64_t width,
                     int64_t inset, int64_t radius, const float *restrict far_sums, float *restrict sums,
                     float *restrict to) {
    const int64_t first = inset - radius, last = width - first;
    for (int64_t x = first; x < last; x++) {
        float r = 0, g = 0, b = 0, w = 0;
        for (int64_t row = -radius; row <= radius; row++) {
            const float *at = color + row * width + x;
            float own = weight[row * width + x];
            r += own * at[0], g += own * at[plane], b += own * at[2 * plane], w += own;
        }
        sums[x] = r, sums[width + x] = g, sums[2 * width + x] = b, sums[3 * width + x] = w;
    }
    const float cells = (float)((2 * radius + 1) * (2 * radius + 1));
    for (int64_t x = inset; x < width - inset; x++) {
        float r = 0, g = 0, b = 0, w = 0;
        for (int64_t i = x - radius; i <= x + radius; i++)
            r += sums[i], g += sums[width + i], b += sums[2 * width + i], w += sums[3 * width + i];
        if (far_sums) {
            r += far_sums[x] * cells, g += far_sums[width + x] * cells, b += far_sums[2 * width + x] * cells;
            w += far_sums[3 * width + x] * cells * (1.0f / 255);
        }
        float scale = 1 / w;
        to[x] = r * scale, to[plane + x] = g * scale, to[2 * plane + x] = b * scale;
    }
}

CLONES static void mean_row_3(const float *color, const float *weight, int64_t plane, int64_t width, int64_t inset,
                              const float *far_sums, float *sums, float *to) {
    mean_row(color, weight, plane, width, inset, 1, far_sums, sums, to);
}

CLONES static void mean_row_5(const float *color, const float *weight, int64_t plane, int64_t width, int64_t inset,
                              const float *far_sums, float *sums, float *to) {
    mean_row(color, weight, plane, width, inset, 2, far_sums, sums, to);
}

/* Replace own colors by the subject's share of them, and the first weight by that of the second pass. */
CLONES static void first_estimate(float *restrict own, const float *restrict subject, const float *restrict background,
                                  float *restrict weight, const float *restrict share, int64_t plane, int64_t count,
                                  float least) {
    for (int64_t channel = 0; channel < 3; channel++, own += plane, subject += plane, background += plane)
        for (int64_t x = 0; x < count; x++) {
            float rest = own[x] - background[x] - share[x] * (subject[x] - background[x]);
            own[x] = subject[x] + share[x] * rest;
        }
    for (int64_t x = 0; x < count; x++) weight[x] = share[x] * share[x] + least;
}

/* Return the number of floats of working memory for cell_colors. size: largest number of cells of a span with a border
 * of 2 * near + 1 cells on each side. columns: largest number of columns of such a span. */
int64_t cell_colors_floats(int64_t height, int64_t width, int64_t far, int64_t size, int64_t columns) {
    int64_t rows = (height + 1) / 2, blocks = (width + 1) / 2;
    return 4 * rows * blocks + SPAN_PLANES * size + 8 * columns + 2 * blocks + 2 * far + 2 +
           4 * (rows + 1) * blocks + blocks;
}

/* Estimate the colors of subject and background at the cells of spans.
 *
 * subject, excess: sheets of three values for each cell, row_size values in a row; excess = subject - background.
 * memory: see cell_colors_floats.
 */
void cell_colors(const Part *part, const Weighting *weighting, const Span *spans, int64_t count, float *subject,
                 float *excess, int64_t row_size, float *memory) {
    const int64_t rows = (part->height + 1) / 2, blocks = (part->width + 1) / 2;
    const int64_t near = weighting->near, border = 2 * near + 1;
    float *far = memory, *cells = far + 4 * rows * blocks, *planes = cells + 2 * blocks + 2;
    far_blocks(part, weighting, rows, blocks, (uint32_t *)(void *)planes, far);
    for (const Span *span = spans; span < spans + count; span++) {
        const int64_t height = span->bottom - span->top + 2 * border, width = span->right - span->left + 2 * border;
        const int64_t top = span->top - part->top - border, left = span->left - part->left - border;
        const int64_t plane = height * width;
        float *weight = planes + 3 * plane, *other = planes + 4 * plane, *share = planes + 5 * plane;
        float *first = planes + 6 * plane, *back = planes + 9 * plane, *sums = planes + SPAN_PLANES * plane;
        float *far_sums = sums + 4 * width;
        for (int64_t y = 0; y < height; y++)
            load_cells(part, weighting, top + y, left, width, plane, planes + y * width);
        for (int64_t y = near; y < height - near; y++) {
            int64_t at = y * width;
            far_row(part, far, rows, blocks, limit(top + y, 0, part->height - 1), left, width, cells, far_sums);
            (near == 1 ? mean_row_3 : mean_row_5)(planes + at, weight + at, plane, width, near, far_sums, sums,
                                                  first + at);
            (near == 1 ? mean_row_3 : mean_row_5)(planes + at, other + at, plane, width, near, NULL, sums, back + at);
        }
        for (int64_t y = near; y < height - near; y++) {
            int64_t at = y * width + near;
            first_estimate(planes + at, first + at, back + at, weight + at, share + at, plane, width - 2 * near,
                           weighting->least);
        }
        for (int64_t y = 2 * near; y < height - 2 * near; y++) {
            int64_t at = y * width, to = (span->row + y - 2 * near) * row_size + 3 * span->column;
            (near == 1 ? mean_row_3 : mean_row_5)(planes + at, weight + at, plane, width, 2 * near, NULL, sums,
                                                  first + at);
            for (int64_t x = 2 * near; x < width - 2 * near; x++, to += 3)
                for (int64_t channel = 0; channel < 3; channel++) {
                    int64_t i = channel * plane + at + x;
                    subject[to + channel] = first[i];
                    excess[to + channel] = first[i] - back[i];
                }
        }
    }
}

typedef struct {
    int64_t balance, r_squared; /* radius of the windows of blocks over which they are averaged */
    float least, low, high;     /* see edge_correction.py */
} CorrectionLimits;

/* Sum windows of blocks along a row. At the borders the outermost value is repeated. padded: memory for a row and for
 * `radius` values on each side. */
CLONES static void sum_repeated(const float *restrict from, int64_t count, int64_t radius, float *restrict padded,
                                float *restrict to) {
    for (int64_t i = -radius; i < count + radius; i++) padded[radius + i] = from[limit(i, 0, count - 1)];
    memset(to, 0, (size_t)count * sizeof *to);
    for (int64_t j = 0; j <= 2 * radius; j++)
        for (int64_t i = 0; i < count; i++) to[i] += padded[i + j];
}

/* Sum the rows around a row; `step` values from row to row. */
CLONES static void sum_around(const float *restrict from, int64_t step, int64_t row, int64_t rows, int64_t radius,
                              int64_t count, float *restrict to) {
    memset(to, 0, (size_t)count * sizeof *to);
    for (int64_t i = -radius; i <= radius; i++) {
        const float *at = from + limit(row + i, 0, rows - 1) * step;
        for (int64_t x = 0; x < count; x++) to[x] += at[x];
    }
}

/* Return the number of floats of working memory for limit_correction. */
int64_t limit_correction_floats(int64_t height, int64_t width, int64_t radius) {
    int64_t rows = (height + 1) / 2, blocks = (width + 1) / 2;
    return 6 * rows * blocks + 12 * blocks + 2 * radius;
}

/* Limit the correction of the edge model: f32[height,width] in 0..255, and 0 outside the cells of `edge`.
 *
 * The mean correction around each cell is subtracted. The result is multiplied by a weight, which is lower where
 * the colors explain the matte.
 *
 * correction: in 0..1. edge: u8 of 0 or 1. r_squared: f32 for each block of 2 x 2 cells. memory: see
 * limit_correction_floats; radius is the larger one.
 */
CLONES void limit_correction(const float *correction, int64_t correction_step, const uint8_t *edge, int64_t edge_step,
                             const float *r_squared, int64_t r_squared_step, int64_t height, int64_t width,
                             const CorrectionLimits *limits, float *to, float *memory) {
    const int64_t rows = (height + 1) / 2, blocks = (width + 1) / 2;
    float *along = memory, *block_values = along + 4 * rows * blocks; /* rows of four and of two planes */
    float *sums = block_values + 2 * rows * blocks, *cells = sums + 4 * blocks, *mixed = cells + 4 * blocks;
    float *padded = mixed + blocks, *edge_sums = sums, *correction_sums = sums + blocks;
    float *explained_sums = sums + 2 * blocks;
    for (int64_t row = 0; row < rows; row++) {
        memset(sums, 0, (size_t)(2 * blocks) * sizeof *sums);
        for (int64_t line = 0; line < 2; line++) {
            int64_t y = limit(2 * row + line, 0, height - 1);
            for (int64_t x = 0; x < 2 * blocks; x++) {
                int64_t cell = x < width ? x : width - 1;
                float inside = edge[y * edge_step + cell];
                edge_sums[x / 2] += inside * 0.25f;
                correction_sums[x / 2] += inside * (0.25f * 255) * correction[y * correction_step + cell];
            }
        }
        for (int64_t i = 0; i < blocks; i++) explained_sums[i] = edge_sums[i] * r_squared[row * r_squared_step + i];
        float *to_row = along + 4 * row * blocks;
        sum_repeated(correction_sums, blocks, limits->balance, padded, to_row);
        sum_repeated(edge_sums, blocks, limits->balance, padded, to_row + blocks);
        sum_repeated(explained_sums, blocks, limits->r_squared, padded, to_row + 2 * blocks);
        sum_repeated(edge_sums, blocks, limits->r_squared, padded, to_row + 3 * blocks);
    }
    const float side = (float)(2 * limits->balance + 1), far_side = (float)(2 * limits->r_squared + 1);
    const float least = limits->least * side * side, far_least = limits->least * far_side * far_side;
    const float range = limits->high - limits->low;
    for (int64_t row = 0; row < rows; row++) {
        float *balance = block_values + 2 * row * blocks, *weight = balance + blocks;
        sum_around(along, 4 * blocks, row, rows, limits->balance, 2 * blocks, sums);
        sum_around(along + 2 * blocks, 4 * blocks, row, rows, limits->r_squared, 2 * blocks, sums + 2 * blocks);
        for (int64_t i = 0; i < blocks; i++) {
            float near = sums[blocks + i], far = sums[3 * blocks + i];
            balance[i] = sums[i] / (near > least ? near : least);
            float value = (limits->high - sums[2 * blocks + i] / (far > far_least ? far : far_least)) / range;
            value = value > 0 ? value : 0;
            weight[i] = value < 1 ? value : 1;
        }
    }
    for (int64_t y = 0; y < height; y++, to += width) {
        int64_t first = limit((y - 1) >> 1, 0, rows - 1), second = limit(first + (y > 0), 0, rows - 1);
        expand_blocks(block_values + 2 * first * blocks, block_values + 2 * second * blocks, y % 2 ? 0.25f : 0.75f, 2,
                      blocks, mixed, cells);
        for (int64_t x = 0; x < width; x++) {
            float value = (255 * correction[y * correction_step + x] - cells[x]) * cells[2 * blocks + x];
            to[x] = edge[y * edge_step + x] ? value : 0;
        }
    }
}

/* Version of the functions above; compiled_cells.py loads no other one. */
uint32_t grid_cells_version(void) { return 1; }
