/* Pictures into a model's input: resize, colour, letterbox, normalise, layout and dtype, one output pixel at a time.

   NVRTC compiles this text as a kernel; any C compiler makes a function of it, with which it is tested. The arithmetic
   is that of the preparation on the host (prepare.py), thus of swscale: a triangle filter as wide as the pictures are
   shrunk, chroma where the picture says it lies, one matrix, and rounding to a whole level before the table.

   Every level has its value in the table, in the input's dtype: there is no arithmetic of dtypes here. */

#if defined(__CUDACC__)
#define DEVICE static __device__ __forceinline__
#else
#include <math.h>
#define DEVICE static inline
#endif

typedef unsigned char byte;

/* One component of a picture: where its samples are, where the first output pixel's centre lies among them, and how
   many of them an output pixel takes. */
typedef struct {
    const byte *samples;
    int row_bytes, step_bytes;
    int width, height;
    int taps_x, taps_y;
    float first_x, first_y;
    float scale_x, scale_y;
} Plane;

/* One picture and its place in an input. `planes` are Y, U, V or R, G, B; a grey picture has one. Samples are `bytes`
   long, `level` of them one level of 255. `is_quick`: as swscale's converters without a resize do it, which take the
   nearest chroma and round every product down. */
typedef struct {
    Plane planes[3];
    byte *out;
    const byte *table;
    long long channel_bytes, row_bytes, column_bytes;
    int plane_count, bytes;
    float level;
    float offset[3], matrix[9];
    int is_quick;
    int top, start, height, width;
    int input_height, input_width;
    int channels, item_bytes;
    int source_of[3];
    int is_grey;
    int pad;
} Picture;

#define PICTURES 8
typedef struct {
    Picture pictures[PICTURES];
} Pictures;

DEVICE int limited(int value, int least, int most) { return value < least ? least : value > most ? most : value; }

DEVICE float sample(const Plane *plane, int bytes, int x, int y) {
    const byte *at = plane->samples + (long long)limited(y, 0, plane->height - 1) * plane->row_bytes
        + (long long)limited(x, 0, plane->width - 1) * plane->step_bytes;
    return bytes == 1 ? (float)*at : (float)*(const unsigned short *)at;
}

/* The weight of a sample that lies `distance` away, under a triangle that falls by `slope` per sample. */
DEVICE float weight(float distance, float slope) {
    float share = 1.0f - fabsf(distance) * slope;
    return share > 0.0f ? share : 0.0f;
}

/* Rounded towards zero, as swscale does: at the first edge an output pixel has a sample less than elsewhere. */
DEVICE int first_tap(float centre, int taps) { return (int)(centre - 0.5f * (float)(taps - 2)); }

/* The value of a component at an output pixel: the nearest sample, or those around it by the triangle filter. */
DEVICE float filtered(const Plane *plane, int bytes, int nearest, int column, int row) {
    float x = plane->first_x + (float)column * plane->scale_x;
    float y = plane->first_y + (float)row * plane->scale_y;
    if (nearest) return sample(plane, bytes, (int)floorf(x), (int)floorf(y));
    float slope_x = plane->scale_x > 1.0f ? 1.0f / plane->scale_x : 1.0f;
    float slope_y = plane->scale_y > 1.0f ? 1.0f / plane->scale_y : 1.0f;
    int left = first_tap(x, plane->taps_x), top = first_tap(y, plane->taps_y);
    float sum = 0.0f, weights = 0.0f;
    for (int j = top; j < top + plane->taps_y; j++) {
        float of_row = weight((float)j - y, slope_y);
        for (int i = left; i < left + plane->taps_x; i++) {
            float both = of_row * weight((float)i - x, slope_x);
            sum += both * sample(plane, bytes, i, j);
            weights += both;
        }
    }
    return weights > 0.0f ? sum / weights : sample(plane, bytes, left, top);
}

DEVICE int level_of(float value) { return limited((int)floorf(value + 0.5f), 0, 255); }

/* Red, green and blue of an output pixel, in levels that may be out of range. */
DEVICE void colours(const Picture *picture, int column, int row, float *rgb) {
    float parts[3];
    for (int i = 0; i < picture->plane_count; i++) {
        float value = filtered(&picture->planes[i], picture->bytes, picture->is_quick, column, row);
        parts[i] = value / picture->level - picture->offset[i];
    }
    for (int i = 0; i < 3; i++) {
        rgb[i] = 0.0f;
        for (int j = 0; j < picture->plane_count; j++) {
            float part = picture->matrix[3 * i + j] * parts[j];
            rgb[i] += picture->is_quick ? floorf(part) : part;
        }
    }
}

DEVICE void put(const Picture *picture, int channel, int column, int row, int level) {
    byte *to = picture->out + channel * picture->channel_bytes + row * picture->row_bytes
        + column * picture->column_bytes;
    const byte *from = picture->table + ((long long)channel * 256 + level) * picture->item_bytes;
    switch (picture->item_bytes) {
    case 1: *to = *from; break;
    case 2: *(unsigned short *)to = *(const unsigned short *)from; break;
    case 4: *(unsigned int *)to = *(const unsigned int *)from; break;
    default: *(unsigned long long *)to = *(const unsigned long long *)from;
    }
}

DEVICE void paint_pixel(const Picture *picture, int column, int row) {
    int colour_channels = picture->channels < 3 ? picture->channels : 3;
    int x = column - picture->start, y = row - picture->top;
    int levels[3] = {picture->pad, picture->pad, picture->pad};
    if (x >= 0 && y >= 0 && x < picture->width && y < picture->height) {
        float rgb[3];
        colours(picture, x, y, rgb);
        for (int i = 0; i < 3; i++) levels[i] = level_of(rgb[picture->source_of[i]]);
        if (picture->is_grey) {
            float grey = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
            for (int i = 0; i < 3; i++) levels[i] = level_of(grey);
        }
    }
    for (int channel = 0; channel < colour_channels; channel++) put(picture, channel, column, row, levels[channel]);
    if (picture->channels == 4) put(picture, 3, column, row, 255);
}

#if defined(__CUDACC__)
extern "C" __global__ void paint(const __grid_constant__ Pictures all) {
    const Picture *picture = &all.pictures[blockIdx.z];
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column < picture->input_width && row < picture->input_height) paint_pixel(picture, column, row);
}
#else
void paint(const Pictures *all, int count) {
    for (int i = 0; i < count; i++)
        for (int row = 0; row < all->pictures[i].input_height; row++)
            for (int column = 0; column < all->pictures[i].input_width; column++)
                paint_pixel(&all->pictures[i], column, row);
}
#endif
