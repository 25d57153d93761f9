//! Vector instructions by detection at run time: one binary, AVX-512 or AVX2 or NEON where they are.

/// Defines a function whose body is compiled once for each instruction set that [`pulp`] knows and
/// run in the best that this CPU has. The loops inside are plain; what they call must be
/// `#[inline(always)]` to be compiled with them.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident<$life:lifetime>(
        $($argument:ident: $kind:ty),* $(,)?
    ) $(-> $output:ty)? $body:block) => {
        $(#[$attribute])*
        $visibility fn $name<$life>($($argument: $kind),*) $(-> $output)? {
            struct Call<$life> { $($argument: $kind,)* marker: std::marker::PhantomData<&$life ()> }
            impl<$life> pulp::NullaryFnOnce for Call<$life> {
                type Output = vectorised!(@output $($output)?);
                #[inline(always)]
                fn call(self) -> Self::Output {
                    let Self { $($argument,)* marker: _ } = self;
                    $body
                }
            }
            crate::compute::kernels::simd::arch()
                .dispatch(Call { $($argument,)* marker: std::marker::PhantomData })
        }
    };
    (@output) => { () };
    (@output $output:ty) => { $output };
}

pub(crate) use vectorised;

/// The instruction set of this CPU; `pulp` keeps the answer.
#[inline]
pub fn arch() -> pulp::Arch {
    pulp::Arch::new()
}

/// Running sums beside one another, so that a sum can use vectors and has one order of additions.
pub const LANES: usize = 16;

/// The sum of `f(0..n)`, in [`LANES`] running sums that are added pairwise at the end.
#[inline(always)]
pub fn sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    for (lane, sum) in sums.iter_mut().enumerate().take(n - whole) {
        *sum += f(whole + lane);
    }
    fold(sums)
}

/// Adds the lanes pairwise.
#[inline(always)]
pub fn fold(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}
