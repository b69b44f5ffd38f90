//! The reckoning of parameters, bytes and FLOPs against published figures, against this program's own files, and against
//! what its models take on a device.

use std::path::Path;

use halfdepth::budget::{
    Budget, CARDS, CacheNumber, Depth, Parameters, STORAGES, Storage, article_claims,
    flops_per_token,
};
use halfdepth::config::LlamaConfig;
use halfdepth::decode;
use halfdepth::model::Loader;
use halfdepth::pack::{Manifest, PackFormats, Role};
use halfdepth::plan::{LayerPlan, SublayerPlan};
use halfdepth::quant::Format;
use halfdepth::shapes::Shape;

fn config(name: &str) -> LlamaConfig {
    Shape::named(name).expect("a shape").config()
}

fn storage(name: &str) -> Storage {
    Storage::named(name).expect("a storage")
}

fn weight_bytes(config: &LlamaConfig, layers: usize, name: &str) -> u64 {
    let depth = Depth::layers(layers);
    Budget::new(config, depth, &storage(name), 0, CacheNumber::F16).weight_bytes
}

/// Whether a figure is what rounding left of `exact`.
fn rounds_to(exact: f64, figure: f64, last_digit: f64) -> bool {
    (exact - figure).abs() <= last_digit / 2.0 * 1.000_001
}

#[test]
fn every_shape_is_valid_and_has_the_published_number_of_parameters() {
    // (name, parameters in thousands of millions to three digits)
    let rows = [
        ("llama-2-7b", 6.738),
        ("llama-2-13b", 13.016),
        ("llama-2-70b", 68.977),
        ("llama-3.1-405b", 405.853),
        ("llama-3.1-70b", 70.554),
        ("llama-3.1-8b", 8.030),
        ("llama-3.2-3b", 3.213),
        ("llama-3.2-1b", 1.236),
        ("tinyllama-1.1b", 1.100),
        ("smollm2-135m", 0.135),
        ("smollm2-360m", 0.362),
        ("smollm2-1.7b", 1.711),
    ];
    assert_eq!(rows.len(), Shape::ALL.len());
    for (name, billions) in rows {
        let config = config(name).validate().expect("a valid shape");
        let parameters = Parameters::of(&config).total(Depth::layers(config.layers));
        assert_eq!(parameters, config.parameters(), "{name}");
        assert!(
            rounds_to(parameters as f64 / 1e9, billions, 1e-3),
            "{name}: {parameters}"
        );
    }
}

#[test]
fn half_depth_of_every_shape_takes_the_share_that_was_reckoned_by_hand() {
    // (name, ends' share of parameters %, half's share %, of FLOPs %, GB at 4.5 bits full and half, cache bytes a position)
    let rows = [
        ("llama-2-7b", 3.9, 51.9, 51.0, 3.79, 1.97, 524_288),
        ("llama-2-13b", 2.5, 51.3, 50.6, 7.32, 3.75, 819_200),
        ("llama-2-70b", 0.8, 50.4, 50.2, 38.80, 19.55, 327_680),
        ("llama-3.1-8b", 13.1, 56.5, 53.5, 4.52, 2.55, 131_072),
        ("llama-3.2-1b", 21.3, 60.6, 60.6, 0.695, 0.421, 32_768),
        ("tinyllama-1.1b", 11.9, 56.0, 53.2, 0.619, 0.346, 22_528),
        ("smollm2-1.7b", 5.9, 52.9, 52.9, 0.963, 0.510, 196_608),
        ("smollm2-360m", 13.0, 56.5, 56.5, 0.204, 0.115, 40_960),
        ("smollm2-135m", 21.0, 60.5, 60.5, 0.076, 0.046, 23_040),
    ];
    for (name, ends, share, flops_share, full_gb, half_gb, cache) in rows {
        let config = config(name);
        let half = config.layers / 2;
        let [full, half] = [config.layers, half].map(Depth::layers);
        let parts = Parameters::of(&config);
        let [all, kept] = [full, half].map(|depth| parts.total(depth) as f64);
        let found = [
            100.0 * (parts.embedding + parts.head) as f64 / all,
            100.0 * kept / all,
            100.0 * flops_per_token(&config, half, 0) as f64
                / flops_per_token(&config, full, 0) as f64,
        ];
        for (found, expected) in found.into_iter().zip([ends, share, flops_share]) {
            assert!(
                rounds_to(found, expected, 0.1),
                "{name}: {found}, expected {expected}"
            );
        }
        let last_digit = if full_gb > 1.0 { 0.01 } else { 0.001 };
        for (depth, expected) in [(full, full_gb), (half, half_gb)] {
            let bytes = weight_bytes(&config, depth.attentions, "4.5") as f64;
            assert!(
                rounds_to(bytes / 1e9, expected, last_digit),
                "{name}: {bytes}"
            );
        }
        let budget = Budget::new(&config, full, &storage("f16"), 10, CacheNumber::F16);
        assert_eq!(budget.cache_bytes_per_position, cache, "{name}");
        assert_eq!(budget.cache_bytes, 10 * cache, "{name}");
        let budget = Budget::new(&config, full, &storage("f16"), 10, CacheNumber::F32);
        assert_eq!(budget.cache_bytes_per_position, 2 * cache, "{name}");
    }
}

#[test]
fn llama_2_70b_takes_what_is_known_of_it() {
    let config = config("llama-2-70b");
    // (layers, storage, GB)
    let rows = [
        (80, "f16", 137.95),
        (40, "4.0", 17.38),
        (40, "int4-g128", 17.92),
        // 18.70 without the norms, which stay f16: 1.3 MB.
        (40, "nf4-dq", 18.71),
        (40, "4.25", 18.46),
        (40, "4.5", 19.55),
        (40, "q4_0", 19.55),
        (40, "q4_k", 19.55),
        (40, "mlc-q4f16", 19.55),
    ];
    for (layers, name, gigabytes) in rows {
        let found = weight_bytes(&config, layers, name) as f64 / 1e9;
        assert!(rounds_to(found, gigabytes, 0.01), "{name}: {found}");
    }
    let [full, half] = [80, 40].map(Depth::layers);
    let flops = [full, half].map(|depth| flops_per_token(&config, depth, 0) as f64);
    assert!(rounds_to(flops[0], 1.374e11, 1e8), "{flops:?}");
    assert!(rounds_to(flops[1], 6.90e10, 1e8), "{flops:?}");
    let attention = flops_per_token(&config, full, 2048) as f64 - flops[0];
    assert!(rounds_to(attention, 5.4e9, 1e8), "{attention}");

    let budget = Budget::new(&config, half, &storage("q4_0"), 4096, CacheNumber::F16);
    assert!(rounds_to(budget.cache_bytes as f64 / 1e9, 0.67, 0.01));
    for card in CARDS {
        // 20.2 GB: a card of 24 GiB holds them, one of 16 does not.
        assert_eq!(
            card.fits(budget.memory_bytes()),
            card.memory_gib >= 24,
            "{}",
            card.name
        );
    }
}

#[test]
fn the_articles_figures_are_reproduced_and_the_wrong_one_is_named() {
    let claims = article_claims();
    let [memory, flops] = claims.as_slice() else {
        panic!("{claims:?}");
    };
    assert_eq!(memory.claimed_full / 4.0 / 2.0, memory.claimed_half);
    assert!(
        memory.verdict.contains("137.95 GB -> 17.38 GB") && memory.verdict.contains("19.55 GB")
    );
    assert!(flops.verdict.contains("does not hold") && flops.verdict.contains("1.374e11"));
    assert!(flops.verdict.contains("50.2 %"), "{}", flops.verdict);
}

#[test]
fn the_embedded_packs_files_and_buffers_have_the_reckoned_bytes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/halfdepth-stories-12L");
    let manifest = std::fs::read(folder.join("manifest.json")).expect("a manifest");
    let manifest = Manifest::parse(&manifest).expect("a pack");
    let config = manifest.config();
    let storage = Storage::of_pack("pack", "", manifest.formats());
    let size = |role: &Role| {
        let file = manifest.file(*role).expect("a file");
        let metadata = std::fs::metadata(folder.join(file));
        metadata.expect("a file").len()
    };
    for entry in manifest.plans() {
        let plan = manifest.plan(&entry.name).expect("a plan");
        let budget = Budget::new(
            config,
            plan.layers().into(),
            &storage,
            512,
            CacheNumber::F16,
        );
        let bytes: u64 = Role::of_plan(&plan).iter().map(size).sum();
        // A head of a plan's own is in no shape.
        let head = plan.head().map_or(0, |number| {
            size(&Role::ReplacedHead(number)) - size(&Role::Head)
        });
        assert_eq!(budget.weight_bytes, bytes - head, "{}", entry.name);
    }
    let files = manifest.files().into_iter();
    let replaced: u64 = files
        .filter(|f| matches!(f.role, Role::Replacement(_) | Role::ReplacedHead(_)))
        .map(|file| file.bytes)
        .sum();
    let loader = Loader::new(&manifest, &decode::cpu()).expect("a model");
    let device_bytes = (loader.model().weight_bytes() as u64 - replaced) as f64;
    let depth = Depth::layers(config.layers);
    let reckoned = Budget::new(config, depth, &storage, 512, CacheNumber::F16).weight_bytes;
    // Files pad every tensor to 256 bytes, buffers do not.
    assert!(
        (reckoned as f64 / device_bytes - 1.0).abs() < 0.01,
        "{reckoned} {device_bytes}"
    );
}

#[test]
fn ggml_files_have_the_reckoned_bytes() {
    // Q4_0 and Q8_0 of stories260K: 172 columns are no multiple of 32, and their matrices stay f16.
    for (name, file) in [("q4_0", "q4_0"), ("q8_0", "q8_0"), ("f32", "f32")] {
        let path = format!("../shared/data/models/stories260K/stories260K-{file}.gguf");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let bytes = std::fs::read(path).expect("the model");
        let checkpoint = halfdepth::checkpoint::Checkpoint::from_gguf(&bytes).expect("opens");
        let config = checkpoint.config();
        let reckoned = weight_bytes(config, config.layers, name);
        let rest = bytes.len() as u64 - reckoned;
        // Metadata and the vocabulary of 512 tokens; every tensor is padded to 32 bytes.
        assert!((13_000..16_000).contains(&rest), "{name}: {rest}");
    }
}

#[test]
fn muted_sublayers_take_nothing() {
    let config = config("smollm2-135m");
    let plan = LayerPlan::full(30).expect("a plan");
    let muted = SublayerPlan::new(plan.clone(), vec![3, 4, 5], vec![9]).expect("a plan");
    let depth = Depth::from(&muted);
    assert_eq!((depth.attentions, depth.mlps), (27, 29));
    let parts = Parameters::of(&config);
    let full = Depth::from(&plan);
    assert_eq!(
        parts.total(full) - parts.total(depth),
        3 * parts.attention + parts.mlp
    );
    for storage in STORAGES {
        let [full, less] =
            [full, depth].map(|d| Budget::new(&config, d, &storage, 100, CacheNumber::F16));
        assert_eq!(
            less.cache_bytes * 30,
            full.cache_bytes * 27,
            "{}",
            storage.name
        );
        assert!(less.weight_bytes < full.weight_bytes, "{}", storage.name);
        assert!(
            less.read_bytes_per_token < full.read_bytes_per_token,
            "{}",
            storage.name
        );
    }
}

#[test]
fn a_pack_that_is_written_has_the_reckoned_bytes_in_every_format() {
    let config = LlamaConfig {
        layers: 2,
        // No multiple of a group or of a section.
        hidden_size: 72,
        intermediate_size: 100,
        heads: 6,
        kv_heads: 2,
        head_dim: 12,
        vocab_size: 301,
        tied_head: false,
        bos_token: None,
        eos_tokens: vec![],
        ..config("llama-2-7b")
    };
    for (layers, ends) in [
        (Format::Q4, Format::Q8),
        (Format::Q8, Format::Q4),
        (Format::F32, Format::F32),
    ] {
        let options = halfdepth::pack::PackOptions {
            name: "x".into(),
            source: halfdepth::pack::Source::default(),
            layers,
            embedding: ends,
            plans: vec![],
        };
        let mut bytes = 0;
        let mut put = |name: &str, content: &[u8]| {
            bytes += if name.ends_with(".bin") {
                content.len() as u64
            } else {
                0
            };
            Ok(())
        };
        halfdepth::pack::write_random(&config, 0, &options, &mut put, &mut |_, _| ())
            .expect("writes");
        let formats = PackFormats {
            layers,
            embedding: ends,
            head: ends,
        };
        let storage = Storage::of_pack("pack", "", formats);
        let depth = Depth::layers(2);
        let reckoned = Budget::new(&config, depth, &storage, 1, CacheNumber::F16).weight_bytes;
        assert_eq!(reckoned, bytes, "{layers:?} {ends:?}");
    }
}
