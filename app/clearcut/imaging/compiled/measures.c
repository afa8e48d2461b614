/* Measures of an image and its matte: the plain background along the border, and the extent of alpha.
 *
 * background_field.py and refine.py contain the same in NumPy, which takes many calls on short arrays.
 *
 * Compiled with: cc -O3 -fno-trapping-math -shared -fPIC -o measures.so measures.c
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "compiler.h"

enum { SIDES = 4, TERMS = 6, COLORS = 3, ROUNDS = 4 };

/* The limits of border_field; background_field.py describes them. */
typedef struct {
    int64_t samples; /* of a line of border pixels; at most twice as many are taken */
    int64_t max_runs;
    double start, max_noise, min_share, scales[ROUNDS], ridge[TERMS];
} BorderLimits;

typedef struct {
    double coefficients[TERMS * COLORS];
    double noise, share;
} Field;

/* Samples of the border: `count` values in each row. */
typedef struct {
    double *basis, *colors, *deviation, *residual, *sorted; /* TERMS, COLORS, COLORS, one and COLORS rows */
    int64_t count, starts[SIDES + 1];                       /* the first sample of each side */
} Samples;

/* Return the place of a pixel's center in a row or column of `count` pixels, from -1 to 1. */
INLINE float center(int64_t index, int64_t count) {
    return ((float)index + 0.5f) * (float)(2.0 / (double)count) - 1.0f;
}

INLINE int64_t step_along(int64_t length, int64_t samples) { return length / samples > 1 ? length / samples : 1; }

/* Return the number of samples of two lines of border pixels. */
INLINE int64_t samples_of(int64_t length, int64_t samples) {
    return 2 * ((length - 1) / step_along(length, samples) + 1);
}

/* Return the number of doubles of working memory for border_field. */
int64_t border_field_doubles(int64_t height, int64_t width, int64_t samples) {
    return (TERMS + 3 * COLORS + 1) * 2 * (samples_of(height, samples) + samples_of(width, samples));
}

static void take_samples(const uint8_t *rgb, int64_t row_step, int64_t height, int64_t width, int64_t per_line,
                         Samples *to) {
    int64_t at = 0;
    for (int side = 0; side < SIDES; side++) {
        int is_column = side >= 2;
        int64_t length = is_column ? height : width, depth = is_column ? width : height;
        int64_t step = step_along(length, per_line);
        to->starts[side] = at;
        for (int64_t line = 0; line < 2; line++) {
            int64_t across = side % 2 ? depth - 1 - line : line;
            for (int64_t along = 0; along < length; along += step, at++) {
                int64_t row = is_column ? along : across, column = is_column ? across : along;
                double x = center(column, width), y = center(row, height);
                double terms[TERMS] = {1, x, y, x * x, x * y, y * y};
                for (int i = 0; i < TERMS; i++) to->basis[i * to->count + at] = terms[i];
                const uint8_t *pixel = rgb + row * row_step + COLORS * column;
                for (int i = 0; i < COLORS; i++) to->colors[i * to->count + at] = pixel[i];
            }
        }
    }
    to->starts[SIDES] = at;
}

/* Return the upper median of levels. */
static double median_level(const double *levels, int64_t count) {
    int64_t counts[256] = {0}, before = 0;
    for (int64_t i = 0; i < count; i++) counts[(uint8_t)levels[i]]++;
    for (int level = 0; level < 256; level++) {
        before += counts[level];
        if (before > count / 2) return level;
    }
    return 255;
}

/* Return the upper median and reorder the values (Hoare's selection). */
static double upper_median(double *values, int64_t count) {
    int64_t low = 0, high = count - 1, middle = count / 2;
    while (low < high) {
        double pivot = values[(low + high) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot) i++;
            while (values[j] > pivot) j--;
            if (i <= j) {
                double swap = values[i];
                values[i++] = values[j];
                values[j--] = swap;
            }
        }
        if (middle <= j) high = j;
        else if (middle >= i) low = i;
        else break;
    }
    return values[middle];
}

/* Write the median color of the border or of one side that most samples are close to. */
static void common_color(const Samples *from, double start, double *color) {
    int64_t best = -1;
    for (int candidate = -1; candidate < SIDES; candidate++) {
        int64_t first = candidate < 0 ? 0 : from->starts[candidate], support = 0;
        int64_t last = candidate < 0 ? from->count : from->starts[candidate + 1];
        double median[COLORS];
        for (int i = 0; i < COLORS; i++) median[i] = median_level(from->colors + i * from->count + first, last - first);
        for (int64_t at = 0; at < from->count; at++) {
            int near = 1;
            for (int i = 0; i < COLORS; i++) near &= fabs(from->colors[i * from->count + at] - median[i]) < start;
            support += near;
        }
        if (support <= best) continue;
        best = support;
        memcpy(color, median, sizeof median);
    }
}

/* Compute how far the samples are from the field, and the largest distance of each in one channel. */
CLONES static void deviate(const Samples *from, const double *coefficients) {
    const double *b = from->basis;
    const int64_t n = from->count;
    for (int channel = 0; channel < COLORS; channel++) {
        const double *c = coefficients + channel, *color = from->colors + channel * n;
        double *deviation = from->deviation + channel * n;
        for (int64_t i = 0; i < n; i++) {
            double value = c[0] + c[3] * b[n + i] + c[6] * b[2 * n + i];
            value += c[9] * b[3 * n + i] + c[12] * b[4 * n + i] + c[15] * b[5 * n + i];
            deviation[i] = color[i] - value;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        double r = fabs(from->deviation[i]), g = fabs(from->deviation[n + i]), blue = fabs(from->deviation[2 * n + i]);
        double largest = r > g ? r : g;
        from->residual[i] = largest > blue ? largest : blue;
    }
}

/* Solve the weighted least squares with a ridge (Cholesky without roots). A singular matrix changes nothing. */
CLONES static void solve(const Samples *from, double scale, const double *ridge, double *coefficients) {
    double normal[TERMS][TERMS] = {{0}}, right[TERMS][COLORS] = {{0}}, total;
    for (int64_t at = 0; at < from->count; at++) {
        double ratio = from->residual[at] / scale, weight = 1 / ((1 + ratio * ratio) * (1 + ratio * ratio));
        for (int i = 0; i < TERMS; i++) {
            double weighted = weight * from->basis[i * from->count + at];
            for (int j = 0; j <= i; j++) normal[i][j] += weighted * from->basis[j * from->count + at];
            for (int j = 0; j < COLORS; j++) right[i][j] += weighted * from->colors[j * from->count + at];
        }
    }
    total = normal[0][0]; /* the first term is 1 */
    for (int i = 0; i < TERMS; i++) normal[i][i] += ridge[i] * total + 1e-9;
    for (int i = 0; i < TERMS; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = normal[i][j];
            for (int k = 0; k < j; k++) sum -= normal[i][k] * normal[j][k] * normal[k][k];
            normal[i][j] = i == j ? sum : sum / normal[j][j];
            if (i == j && !(sum > 0)) return;
        }
    }
    for (int channel = 0; channel < COLORS; channel++) {
        for (int i = 0; i < TERMS; i++)
            for (int k = 0; k < i; k++) right[i][channel] -= normal[i][k] * right[k][channel];
        for (int i = TERMS - 1; i >= 0; i--) {
            right[i][channel] /= normal[i][i];
            for (int k = i + 1; k < TERMS; k++) right[i][channel] -= normal[k][i] * right[k][channel];
            coefficients[i * COLORS + channel] = right[i][channel];
        }
    }
}

/* Count the runs of three and more samples, along the outermost lines, that are further than `tolerance` away. */
static int64_t interruptions(const Samples *from, double tolerance) {
    int64_t total = 0;
    for (int side = 0; side < SIDES; side++) {
        int64_t length = (from->starts[side + 1] - from->starts[side]) / 2;
        const double *residual = from->residual + from->starts[side];
        int foreign = 0;
        for (int64_t i = 0; i < length; i++) {
            int around = !(residual[i] < tolerance);
            around += i > 0 && !(residual[i - 1] < tolerance);
            around += i + 1 < length && !(residual[i + 1] < tolerance);
            total += around >= 2 && !foreign;
            foreign = around >= 2;
        }
    }
    return total;
}

/* Fit a smooth field of colors to the border of u8[height,width,3] and return whether the border is plain.
 *
 * height, width: at least 2. memory: see border_field_doubles.
 */
int32_t border_field(const uint8_t *rgb, int64_t row_step, int64_t height, int64_t width, const BorderLimits *limits,
                     Field *field, double *memory) {
    Samples samples;
    const int64_t n = 2 * (samples_of(height, limits->samples) + samples_of(width, limits->samples));
    samples.count = n;
    samples.basis = memory;
    samples.colors = samples.basis + TERMS * n;
    samples.deviation = samples.colors + COLORS * n;
    samples.sorted = samples.deviation + COLORS * n;
    samples.residual = samples.sorted + COLORS * n;
    take_samples(rgb, row_step, height, width, limits->samples, &samples);
    memset(field->coefficients, 0, sizeof field->coefficients);
    common_color(&samples, limits->start, field->coefficients);
    for (int round = 0; round < ROUNDS; round++) {
        deviate(&samples, field->coefficients);
        solve(&samples, limits->scales[round], limits->ridge, field->coefficients);
    }
    deviate(&samples, field->coefficients);
    int64_t near = 0, values = 0, explained = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(samples.residual[i] < 3 * limits->scales[ROUNDS - 1])) continue;
        near++;
        for (int channel = 0; channel < COLORS; channel++)
            samples.sorted[values++] = fabs(samples.deviation[channel * n + i]);
    }
    if ((double)near / (double)n < limits->min_share) return 0;
    field->noise = 1.4826 * upper_median(samples.sorted, values);
    double tolerance = 4 * field->noise > 4 ? 4 * field->noise : 4;
    for (int64_t i = 0; i < n; i++) explained += samples.residual[i] < tolerance;
    field->share = (double)explained / (double)n;
    return field->noise <= limits->max_noise && field->share >= limits->min_share &&
           interruptions(&samples, tolerance) <= limits->max_runs;
}

/* Write the highest and lowest value of each column in strips of `rows` rows: u8[ceil(height / rows),width] each. */
CLONES void strip_extremes(const uint8_t *alpha, int64_t row_step, int64_t height, int64_t width, int64_t rows,
                           uint8_t *restrict highest, uint8_t *restrict lowest) {
    for (int64_t y = 0; y < height; y++, alpha += row_step) {
        uint8_t *high = highest + y / rows * width, *low = lowest + y / rows * width;
        if (y % rows == 0) {
            memcpy(high, alpha, (size_t)width);
            memcpy(low, alpha, (size_t)width);
            continue;
        }
        for (int64_t x = 0; x < width; x++) {
            high[x] = alpha[x] > high[x] ? alpha[x] : high[x];
            low[x] = alpha[x] < low[x] ? alpha[x] : low[x];
        }
    }
}

/* Count the values from `lowest` to `highest` in u8[height,width]; `lowest` must not exceed `highest`. */
CLONES int64_t count_between(const uint8_t *alpha, int64_t row_step, int64_t height, int64_t width, uint8_t lowest,
                             uint8_t highest) {
    int64_t total = 0;
    const uint8_t span = (uint8_t)(highest - lowest);
    for (int64_t y = 0; y < height; y++, alpha += row_step)
        for (int64_t begin = 0; begin < width; begin += 4096) {
            int64_t end = begin + 4096 < width ? begin + 4096 : width;
            uint32_t count = 0;
            for (int64_t x = begin; x < end; x++) count += (uint8_t)(alpha[x] - lowest) <= span;
            total += count;
        }
    return total;
}

/* Version of the functions above; image_measures.py loads no other one. */
uint32_t measures_version(void) { return 1; }
