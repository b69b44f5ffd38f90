//! `rope_cache`: fresh queries, keys and values in; queries rotated in place, keys and values appended to the cache.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::attention::Heads;
use super::twin::{floats, words};
use super::{Shader, WORKGROUP, launch};

/// Rotary position embedding and cache write.
///
/// `qkv` (pass rows, (heads + 2 kv heads) * head size), `rotations` (context * head size): cosine and sine of each
/// position and frequency, `keys` and `values` (kv heads, context, head size). Gives back `qkv`, `keys`, `values`.
pub fn rope_cache(
    qkv: Tensor<2>,
    rotations: Tensor<1>,
    keys: Tensor<3>,
    values: Tensor<3>,
    step: Tensor<1, Int>,
    heads: Heads,
) -> (Tensor<2>, Tensor<3>, Tensor<3>) {
    let (qkv, keys, values) = Dispatch::rope_cache(
        qkv.into_dispatch(),
        rotations.into_dispatch(),
        keys.into_dispatch(),
        values.into_dispatch(),
        step.into_dispatch(),
        heads,
    );
    (
        Tensor::from_dispatch(qkv),
        Tensor::from_dispatch(keys),
        Tensor::from_dispatch(values),
    )
}

/// The shader of this op.
pub fn shader(heads: Heads) -> Shader {
    heads
        .constants(Shader::new("rope_cache").with("WORKGROUP", WORKGROUP))
        .with("STEP", 4)
}

#[backend_extension(Cube, Flex)]
pub(crate) trait RopeCache: Backend {
    fn rope_cache(
        qkv: FloatTensor<Self>,
        rotations: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        step: IntTensor<Self>,
        heads: Heads,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl RopeCache for CubeBackend {
    fn rope_cache(
        qkv: FloatTensor<Self>,
        rotations: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        step: IntTensor<Self>,
        heads: Heads,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let rows = qkv.meta.shape()[0] as u32;
        launch(
            shader(heads),
            CubeCount::Static((heads.heads + 2 * heads.kv_heads) as u32, rows, 1),
            &[&qkv, &rotations, &keys, &values, &step],
        );
        (qkv, keys, values)
    }
}

impl RopeCache for Flex {
    fn rope_cache(
        mut qkv: FloatTensor<Self>,
        rotations: FloatTensor<Self>,
        mut keys: FloatTensor<Self>,
        mut values: FloatTensor<Self>,
        step: IntTensor<Self>,
        heads: Heads,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (position, rows) = (words(&step)[0] as usize, words(&step)[1] as usize);
        let rotations = floats(&rotations);
        let (size, half) = (heads.head_dim, heads.head_dim / 2);
        let row_len = (heads.heads + 2 * heads.kv_heads) * size;
        let keys_out = keys.storage_mut::<f32>();
        let values_out = values.storage_mut::<f32>();
        for (token, row) in qkv
            .storage_mut::<f32>()
            .chunks_mut(row_len)
            .take(rows)
            .enumerate()
        {
            let at = position + token;
            if at >= heads.context {
                break;
            }
            let turns = &rotations[at * size..(at + 1) * size];
            for (head, vector) in row.chunks_mut(size).enumerate() {
                if let Some(kv_head) = head.checked_sub(heads.heads + heads.kv_heads) {
                    let to = (kv_head * heads.context + at) * size;
                    values_out[to..to + size].copy_from_slice(vector);
                    continue;
                }
                let rotated = match head.checked_sub(heads.heads) {
                    None => vector,
                    Some(kv_head) => {
                        let to = (kv_head * heads.context + at) * size;
                        let key = &mut keys_out[to..to + size];
                        key.copy_from_slice(vector);
                        key
                    }
                };
                for i in 0..half {
                    let (cosine, sine) = (turns[2 * i], turns[2 * i + 1]);
                    let (a, b) = (rotated[i], rotated[i + half]);
                    rotated[i] = a * cosine - b * sine;
                    rotated[i + half] = b * cosine + a * sine;
                }
            }
        }
        (qkv, keys, values)
    }
}
