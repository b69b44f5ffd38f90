//! In: the browser's GPU. Out: what it tells about it. wgpu passes on one field of four.

use js_sys::{Function, Promise, Reflect};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The device, as far as the browser tells; every field may be empty.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Adapter {
    vendor: String,
    architecture: String,
    device: String,
    description: String,
    /// Whether the "GPU" is a program on the CPU.
    pub(crate) fallback: bool,
    /// The least size of a subgroup, where the device has subgroups and the page asked for them.
    #[serde(skip)]
    pub(crate) subgroup: Option<usize>,
}

/// Asks for an adapter as the engine does and reads its description. What is not told stays empty.
pub(crate) async fn describe() -> Adapter {
    read().await.unwrap_or_default()
}

async fn read() -> Result<Adapter, JsValue> {
    let gpu = get(&get(&js_sys::global(), "navigator")?, "gpu")?;
    let options = js_sys::Object::new();
    Reflect::set(
        &options,
        &"powerPreference".into(),
        &"high-performance".into(),
    )?;
    let request: Function = get(&gpu, "requestAdapter")?.dyn_into()?;
    let promise: Promise = request.call1(&gpu, &options)?.dyn_into()?;
    let adapter = JsFuture::from(promise).await?;
    let info = get(&adapter, "info")?;
    let text = |name| {
        get(&info, name)
            .ok()
            .and_then(|value| value.as_string())
            .unwrap_or_default()
    };
    Ok(Adapter {
        vendor: text("vendor"),
        architecture: text("architecture"),
        device: text("device"),
        description: text("description"),
        fallback: get(&info, "isFallbackAdapter")?.is_truthy(),
        subgroup: subgroup(&adapter, &info).unwrap_or_default(),
    })
}

/// wgpu does not ask a browser for subgroups; `www/subgroups.ts` does, and leaves a mark that it did.
fn subgroup(adapter: &JsValue, info: &JsValue) -> Result<Option<usize>, JsValue> {
    let asked = get(&js_sys::global(), "halfdepthSubgroups")?.is_truthy();
    let features = get(adapter, "features")?;
    let has: Function = get(&features, "has")?.dyn_into()?;
    let offered = has.call1(&features, &"subgroups".into())?.is_truthy();
    let size = get(info, "subgroupMinSize")?.as_f64().unwrap_or_default() as usize;
    Ok((asked && offered && size.is_power_of_two()).then_some(size))
}

fn get(object: &JsValue, name: &str) -> Result<JsValue, JsValue> {
    Reflect::get(object, &name.into())
}
