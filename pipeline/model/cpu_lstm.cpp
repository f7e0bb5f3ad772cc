// One LSTM layer, forward and backward through time (Hochreiter and Schmidhuber, 1997; torch.nn.LSTM's gates and their
// order), single precision, for the processor that it is compiled on.
//
// Shapes: B batch, T time steps, F features, H hidden size, D directions, L lanes of a vector, J = H / L blocks of units.
//   x (B, T, F); outputs (B, T, D * H); cells (D, B, T, H); gates (D, J, B, T, 4 * L): a block's i, f, g, o side by side.
// H must be a multiple of L. Every element of every result is summed in one order, whatever the number of threads; another
// L may round differently.

#include <algorithm>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
constexpr long L = 16;
constexpr int ROWS = 6;  // 6 x 4 sums, 4 columns and a factor in 32 registers
#elif defined(__AVX__)
constexpr long L = 8;
constexpr int ROWS = 3;
#else
constexpr long L = 4;
constexpr int ROWS = 3;
#endif
constexpr long BLOCK = 4 * L;

typedef float Vector __attribute__((vector_size(L * 4)));
typedef float Unaligned __attribute__((vector_size(L * 4), aligned(4), may_alias));
typedef int Integers __attribute__((vector_size(L * 4)));
#define INLINE static inline __attribute__((always_inline))

INLINE Vector load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
INLINE void store(float* to, Vector value) { *reinterpret_cast<Unaligned*>(to) = value; }
INLINE Vector all(float value) { return value - Vector{}; }

// e^x to about one unit in the last place (Cephes' expf; Moshier, 1992). NaN stays NaN.
INLINE Vector exponential(Vector x) {
    x = x > all(88.0f) ? all(88.0f) : x;
    x = x < all(-87.0f) ? all(-87.0f) : x;
    const Vector scaled = x * 1.44269504088896341f;
    const Vector rounded = scaled + 12582912.0f - 12582912.0f;  // 1.5 * 2^23: what is added has no place for fractions
    const Vector r = x - rounded * 0.693359375f + rounded * 2.12194440e-4f;  // ln 2 in two parts
    Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const Integers power = (__builtin_convertvector(rounded, Integers) + 127) << 23;
    return p * (Vector)power;  // its bits
}

INLINE Vector sigmoid(Vector x) { return 1.0f / (1.0f + exponential(-x)); }

// Cephes' tanhf: a polynomial near zero, where 1 - 2 / (e^2x + 1) would lose its digits.
INLINE Vector hyperbolic(Vector x) {
    const Vector square = x * x;
    Vector p = square * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    p = p * square * x + x;
    const Vector far = 1.0f - 2.0f / (exponential(x + x) + 1.0f);
    return square < all(0.390625f) ? p : far;  // 0.625^2; NaN goes the far way
}

// sums[r][c] += the sum over k of a[r * a_row + k * a_step] * b[k * b_step + c]
template <int R, int C>
INLINE void multiply(Vector (&sums)[R][C], const float* a, long a_row, long a_step, const float* b, long b_step, long depth) {
    for (long k = 0; k < depth; ++k) {
        Vector column[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) column[c] = load(b + k * b_step + c * L);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const float factor = a[r * a_row + k * a_step];
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) sums[r][c] += column[c] * factor;
        }
    }
}

// Call what with the constant that equals n, which is from 1 to N.
template <int N, class Function>
INLINE void as_constant(long n, Function what) {
    if (n == N)
        what(std::integral_constant<int, N>{});
    else if constexpr (N > 1)
        as_constant<N - 1>(n, what);
}

struct Layer {
    long B, T, F, H, D;
    long J() const { return H / L; }
    long depth() const { return F + H + 1; }
    // where step s, in the order of reading, stands in time: the second direction reads from the end
    long time(long d, long s) const { return d ? T - 1 - s : s; }
    long chunks(long threads) const { return std::min(B, (threads + D - 1) / D); }  // of the rows, a task each
};

// weights (input, recurrent, two biases of each direction) -> packed (D, J, F + H + 1, BLOCK), the biases' sum last
static void pack(const Layer& l, const float* const* weights, long d, long j, float* packed) {
    const float *input = weights[4 * d], *recurrent = weights[4 * d + 1];
    float* to = packed + (d * l.J() + j) * l.depth() * BLOCK;
    for (long g = 0; g < 4; ++g)
        for (long i = 0; i < L; ++i) {
            const long row = g * l.H + j * L + i;
            for (long f = 0; f < l.F; ++f) to[f * BLOCK + g * L + i] = input[row * l.F + f];
            for (long h = 0; h < l.H; ++h) to[(l.F + h) * BLOCK + g * L + i] = recurrent[row * l.H + h];
            to[(l.F + l.H) * BLOCK + g * L + i] = weights[4 * d + 2][row] + weights[4 * d + 3][row];
        }
}

// Not inline: its constants would take registers from the sums.
__attribute__((noinline)) static void cell_forward(const Vector* sums, const float* before, float* gates, float* cell,
                                                   float* output) {
    const Vector in = sigmoid(sums[0]), forget = sigmoid(sums[1]), candidate = hyperbolic(sums[2]), out = sigmoid(sums[3]);
    const Vector state = before ? in * candidate + forget * load(before) : in * candidate;
    store(gates, in);
    store(gates + L, forget);
    store(gates + 2 * L, candidate);
    store(gates + 3 * L, out);
    store(cell, state);
    store(output, out * hyperbolic(state));
}

static void forward_rows(const Layer& l, long d, long first, long last, const float* x, const float* packed, float* outputs,
                         float* gates, float* cells) {
    const long width = l.D * l.H;
    for (long s = 0; s < l.T; ++s) {
        const long t = l.time(d, s), before = s ? l.time(d, s - 1) : 0;
        for (long j = 0; j < l.J(); ++j) {
            const float* w = packed + (d * l.J() + j) * l.depth() * BLOCK;
            for (long b = first; b < last; b += ROWS) {
                const long rows = std::min<long>(ROWS, last - b);
                Vector sums[ROWS][4];
                as_constant<ROWS>(rows, [&](auto constant) {
                    constexpr int R = constant;
                    Vector own[R][4];
                    for (int r = 0; r < R; ++r)
                        for (int g = 0; g < 4; ++g) own[r][g] = load(w + (l.F + l.H) * BLOCK + g * L);
                    multiply<R, 4>(own, x + (b * l.T + t) * l.F, l.T * l.F, 1, w, BLOCK, l.F);
                    const float* previous = outputs + (b * l.T + before) * width + d * l.H;
                    if (s) multiply<R, 4>(own, previous, l.T * width, 1, w + l.F * BLOCK, BLOCK, l.H);
                    for (int r = 0; r < R; ++r)
                        for (int g = 0; g < 4; ++g) sums[r][g] = own[r][g];
                });
                for (long r = 0; r < rows; ++r) {
                    float* cell = cells + ((d * l.B + b + r) * l.T) * l.H + j * L;
                    float* gate = gates + (((d * l.J() + j) * l.B + b + r) * l.T + t) * BLOCK;
                    float* output = outputs + ((b + r) * l.T + t) * width + d * l.H + j * L;
                    cell_forward(sums[r], s ? cell + before * l.H : nullptr, gate, cell + t * l.H, output);
                }
            }
        }
    }
}

// gates become the gradients of what the gates are made of. recurrent (D, J, BLOCK, H): those weights in the gates'
// order; carried (D, B, 2, H): the gradients of the outputs and of the cells that come from the step after.
static void backward_rows(const Layer& l, long d, long first, long last, const float* cells, const float* grad, long grad_b,
                          long grad_t, const float* recurrent, float* carried, float* gates) {
    for (long s = l.T - 1; s >= 0; --s) {
        const long t = l.time(d, s), before = s ? l.time(d, s - 1) : 0;
        const bool end = s == l.T - 1;
        for (long b = first; b < last; b += ROWS) {
            const long rows = std::min<long>(ROWS, last - b);
            for (long r = b; r < b + rows; ++r)
                for (long j = 0; j < l.J(); ++j) {
                    float* gate = gates + (((d * l.J() + j) * l.B + r) * l.T + t) * BLOCK;
                    const float* cell = cells + ((d * l.B + r) * l.T) * l.H + j * L;
                    float* kept = carried + (d * l.B + r) * 2 * l.H + j * L;
                    const Vector in = load(gate), forget = load(gate + L);
                    const Vector candidate = load(gate + 2 * L), out = load(gate + 3 * L);
                    Vector dh = load(grad + r * grad_b + t * grad_t + d * l.H + j * L);
                    if (!end) dh += load(kept);
                    const Vector squashed = hyperbolic(load(cell + t * l.H));
                    Vector dc = dh * out * (1.0f - squashed * squashed);
                    if (!end) dc += load(kept + l.H);
                    const Vector past = s ? load(cell + before * l.H) : Vector{};
                    store(gate, dc * candidate * in * (1.0f - in));
                    store(gate + L, dc * past * forget * (1.0f - forget));
                    store(gate + 2 * L, dc * in * (1.0f - candidate * candidate));
                    store(gate + 3 * L, dh * squashed * out * (1.0f - out));
                    store(kept + l.H, dc * forget);
                }
            if (!s) continue;
            as_constant<ROWS>(rows, [&](auto constant) {
                constexpr int R = constant;
                for (long h = 0; h < l.H; h += 4 * L)
                    as_constant<4>(std::min<long>(4, (l.H - h) / L), [&](auto count) {
                        constexpr int C = count;
                        Vector sums[R][C] = {};
                        for (long j = 0; j < l.J(); ++j) {
                            const long block = d * l.J() + j;
                            multiply<R, C>(sums, gates + ((block * l.B + b) * l.T + t) * BLOCK, l.T * BLOCK, 1,
                                           recurrent + block * BLOCK * l.H + h, l.H, BLOCK);
                        }
                        for (int r = 0; r < R; ++r)
                            for (int c = 0; c < C; ++c)
                                store(carried + (d * l.B + b + r) * 2 * l.H + h + c * L, sums[r][c]);
                    });
            });
        }
    }
}

// The gradients of a block's weights, first in packed's order in total (F + H + 1, BLOCK), then where the weights' are.
static void weight_gradients(const Layer& l, long d, long j, const float* x, const float* outputs, const float* gates,
                             float* total, float* const* grads) {
    const long width = l.D * l.H, group = std::max<long>(1, 128 / l.T);  // rows whose gates stay in the fastest cache
    const float* block = gates + (d * l.J() + j) * l.B * l.T * BLOCK;
    std::memset(total, 0, l.depth() * BLOCK * sizeof(float));
    for (long first = 0; first < l.B; first += group) {
        const long rows = std::min(group, l.B - first);
        const float* own = block + first * l.T * BLOCK;
        for (long f = 0; f < l.F + l.H; f += f < l.F ? std::min<long>(ROWS, l.F - f) : ROWS)
            as_constant<ROWS>(std::min<long>(ROWS, (f < l.F ? l.F : l.F + l.H) - f), [&](auto constant) {
                constexpr int R = constant;
                Vector sums[R][4];
                for (int r = 0; r < R; ++r)
                    for (int g = 0; g < 4; ++g) sums[r][g] = load(total + (f + r) * BLOCK + g * L);
                if (f < l.F)
                    multiply<R, 4>(sums, x + first * l.T * l.F + f, 1, l.F, own, BLOCK, rows * l.T);
                else
                    for (long b = 0; b < rows; ++b) {  // each step with the outputs of the step before
                        const float* output = outputs + (first + b) * l.T * width + d * l.H + f - l.F;
                        const float* gate = own + (b * l.T + (d ? 0 : 1)) * BLOCK;
                        multiply<R, 4>(sums, output + (d ? width : 0), 1, width, gate, BLOCK, l.T - 1);
                    }
                for (int r = 0; r < R; ++r)
                    for (int g = 0; g < 4; ++g) store(total + (f + r) * BLOCK + g * L, sums[r][g]);
            });
        Vector sums[4];
        float* biases = total + (l.F + l.H) * BLOCK;
        for (int g = 0; g < 4; ++g) sums[g] = load(biases + g * L);
        for (long k = 0; k < rows * l.T; ++k)
            for (int g = 0; g < 4; ++g) sums[g] += load(own + k * BLOCK + g * L);
        for (int g = 0; g < 4; ++g) store(biases + g * L, sums[g]);
    }
    for (long g = 0; g < 4; ++g)
        for (long i = 0; i < L; ++i) {
            const long row = g * l.H + j * L + i;
            for (long f = 0; f < l.F; ++f) grads[4 * d][row * l.F + f] = total[f * BLOCK + g * L + i];
            for (long h = 0; h < l.H; ++h) grads[4 * d + 1][row * l.H + h] = total[(l.F + h) * BLOCK + g * L + i];
            grads[4 * d + 2][row] = grads[4 * d + 3][row] = total[(l.F + l.H) * BLOCK + g * L + i];
        }
}

// dx (B * T, F) of rows first to last. inputs (D, J, BLOCK, padded): the input weights, padded with zeros to padded columns.
static void input_gradients(const Layer& l, long first, long last, const float* gates, const float* inputs, long padded,
                            float* dx) {
    for (long n = first; n < last; n += ROWS)
        as_constant<ROWS>(std::min<long>(ROWS, last - n), [&](auto constant) {
            constexpr int R = constant;
            for (long f = 0; f < padded; f += 4 * L)
                as_constant<4>(std::min<long>(4, (padded - f) / L), [&](auto count) {
                    constexpr int C = count;
                    Vector sums[R][C] = {};
                    for (long block = 0; block < l.D * l.J(); ++block)
                        multiply<R, C>(sums, gates + (block * l.B * l.T + n) * BLOCK, BLOCK, 1,
                                       inputs + block * BLOCK * padded + f, padded, BLOCK);
                    for (int r = 0; r < R; ++r)
                        std::memcpy(dx + (n + r) * l.F + f, sums[r], std::min<long>(C * L, l.F - f) * sizeof(float));
                });
        });
}

extern "C" {

long lanes() { return L; }

void lstm_forward(long B, long T, long F, long H, long D, long threads, const float* x, const float* const* weights,
                  float* packed, float* outputs, float* gates, float* cells) {
    const Layer l{B, T, F, H, D};
    const long chunks = l.chunks(threads), rows = (B + chunks - 1) / chunks;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for
        for (long block = 0; block < D * l.J(); ++block) pack(l, weights, block / l.J(), block % l.J(), packed);
#pragma omp for schedule(static)
        for (long task = 0; task < D * chunks; ++task) {
            const long first = task % chunks * rows;
            forward_rows(l, task / chunks, first, std::min(B, first + rows), x, packed, outputs, gates, cells);
        }
    }
}

// grad (B, T, D * H) with strides grad_b and grad_t, the last one 1. dx (B, T, F), or null where it is not wanted.
// Room to work in: recurrent (D, 4 * H, H), inputs (D, 4 * H, padded), carried (D, B, 2, H), total (D, J, F + H + 1, BLOCK).
void lstm_backward(long B, long T, long F, long H, long D, long threads, const float* x, const float* const* weights,
                   const float* outputs, float* gates, const float* cells, const float* grad, long grad_b, long grad_t,
                   float* recurrent, float* inputs, long padded, float* carried, float* total, float* dx, float* const* grads) {
    const Layer l{B, T, F, H, D};
    const long chunks = l.chunks(threads), rows = (B + chunks - 1) / chunks, flat = (B * T + threads - 1) / threads;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for
        for (long to = 0; to < D * 4 * H; ++to) {
            const long d = to / (4 * H), block = to % (4 * H) / BLOCK, g = to % BLOCK / L, from = g * H + block * L + to % L;
            std::memcpy(recurrent + to * H, weights[4 * d + 1] + from * H, H * sizeof(float));
            if (!dx) continue;
            std::memcpy(inputs + to * padded, weights[4 * d] + from * F, F * sizeof(float));
            std::memset(inputs + to * padded + F, 0, (padded - F) * sizeof(float));
        }
#pragma omp for schedule(static)
        for (long task = 0; task < D * chunks; ++task) {
            const long first = task % chunks * rows;
            backward_rows(l, task / chunks, first, std::min(B, first + rows), cells, grad, grad_b, grad_t, recurrent,
                          carried, gates);
        }
#pragma omp for nowait
        for (long block = 0; block < D * l.J(); ++block)
            weight_gradients(l, block / l.J(), block % l.J(), x, outputs, gates, total + block * l.depth() * BLOCK, grads);
        if (dx) {
#pragma omp for schedule(static)
            for (long part = 0; part < threads; ++part)
                input_gradients(l, part * flat, std::min(B * T, (part + 1) * flat), gates, inputs, padded, dx);
        }
    }
}
}
