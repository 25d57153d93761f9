//! The names that a pickle of weights may have. Any other refuses the file, by its name.

use safetensors::tensor::Dtype;

use super::Wrong;
use crate::model::weight_files::shown;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// `_rebuild_tensor_v2`.
    Tensor,
    /// `_rebuild_parameter`.
    Parameter,
    /// Numbers of this type.
    Storage(Dtype),
}

/// The known one of this name.
pub(super) fn global(module: &str, name: &str) -> Result<Global, Wrong> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Global::Tensor,
        ("torch._utils", "_rebuild_parameter") => Global::Parameter,
        ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
        ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
        ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
        ("torch", "LongStorage") => Global::Storage(Dtype::I64),
        ("torch", "IntStorage") => Global::Storage(Dtype::I32),
        ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
        ("torch", "CharStorage") => Global::Storage(Dtype::I8),
        ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
        ("torch", "BoolStorage") => Global::Storage(Dtype::BOOL),
        _ => {
            return Err(Wrong::Unread(format!(
                "it is a pickle that refers to `{}.{}`, which no weights need; in Python, reading it could run \
                 any code",
                shown(module),
                shown(name)
            )));
        }
    })
}
