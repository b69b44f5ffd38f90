//! Packs that must be refused, in the manner of `hostile.rs`.

use halfdepth::checkpoint::Checkpoint;
use halfdepth::pack::{MANIFEST, Manifest, PackError, Role};
use halfdepth::quant::Format;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::files::{Folder, edit_object, gguf};
use crate::hostile::MOST_BYTES;
use crate::memory::peak_bytes;
use crate::packs::{Stored, pack};

/// Gives the half plan a figure on a text.
fn figure(manifest: &mut Map<String, Value>, figure: Value) {
    manifest["evaluation"] = json!([{ "text": "a text", "tokens": 1, "protocol": "none" }]);
    manifest["plans"][1]["figures"] = json!([figure]);
}

/// Lists shards of other layers as replacements, (layer, shard) each, and lets the half plan run some of them.
fn replace(manifest: &mut Map<String, Value>, shards: &[(usize, usize)], run: Value) {
    let replacements = shards.iter().map(|(layer, shard)| {
        let mut entry = manifest["layers"][*shard].clone();
        entry["layer"] = (*layer).into();
        entry
    });
    manifest["replacements"] = replacements.collect();
    manifest["plans"][1]["replacements"] = run;
}

#[test]
fn broken_manifests_are_named() {
    type Row = (&'static str, fn(&mut Map<String, Value>), &'static str);
    let rows: &[Row] = &[
        (
            "another format",
            |m| m["format"] = "mlc".into(),
            "its format is \"mlc\"",
        ),
        (
            "no format",
            |m| drop(m.remove("format")),
            "missing field `format`",
        ),
        (
            "a newer version",
            |m| m["version"] = 3.into(),
            "format version 3, this program reads version 2; reload the page",
        ),
        (
            "an older version",
            |m| m["version"] = 0.into(),
            "make the pack again",
        ),
        (
            "a version in words",
            |m| m["version"] = "one".into(),
            "not the manifest of a Halfdepth pack",
        ),
        (
            "no configuration",
            |m| drop(m.remove("config")),
            "missing field `config`",
        ),
        (
            "a huge vocabulary",
            |m| m["config"]["vocab_size"] = (1u64 << 40).into(),
            "`vocab_size` = 1099511627776 is out of range",
        ),
        (
            "no layers",
            |m| m["config"]["layers"] = 0.into(),
            "`layers` = 0 is out of range",
        ),
        (
            "an odd head",
            |m| m["config"]["head_dim"] = 7.into(),
            "must be a multiple of 4",
        ),
        (
            "theta that is no number",
            |m| m["config"]["rope"]["theta"] = Value::Null,
            "the manifest is damaged",
        ),
        (
            "an unknown rope",
            |m| m["config"]["rope"]["scaling"] = "yarn".into(),
            "unknown variant `yarn`",
        ),
        (
            "too few rope factors",
            |m| m["config"]["rope"]["scaling"] = json!({ "factors": [1.0] }),
            "must be head_dim / 2 = 4 values",
        ),
        (
            "a layer missing",
            |m| drop(m["layers"].as_array_mut().unwrap().pop()),
            "lists 4 layers, the configuration 5",
        ),
        (
            "a layer more",
            |m| m["config"]["layers"] = 4.into(),
            "lists 5 layers, the configuration 4",
        ),
        (
            "layers out of order",
            |m| m["layers"].as_array_mut().unwrap().swap(1, 2),
            "`layers[2]` does not follow",
        ),
        (
            "an unknown number format",
            |m| m["layers"][0]["formats"]["qkv"] = "q5".into(),
            "unknown variant `q5`",
        ),
        (
            "another number format",
            |m| m["layers"][0]["formats"]["qkv"] = "q8".into(),
            "`layers[0]` has 26880 bytes; its shape and formats make",
        ),
        (
            "another shape",
            |m| m["config"]["intermediate_size"] = 204.into(),
            "`layers[0]` has 26880 bytes; its shape and formats make",
        ),
        (
            "a huge shard",
            |m| m["embedding"]["bytes"] = u64::MAX.into(),
            "`embedding` has 18446744073709551615 bytes",
        ),
        (
            "a negative shard",
            |m| m["embedding"]["bytes"] = (-1).into(),
            "the manifest is damaged",
        ),
        (
            "a huge tokenizer",
            |m| m["tokenizer"]["bytes"] = (1u64 << 40).into(),
            "over the limit of 67108864",
        ),
        (
            "a way out",
            |m| m["layers"][3]["file"] = "../../etc/passwd".into(),
            "`layers[3]` has a file that is not named <sha256>.bin",
        ),
        (
            "an address",
            |m| m["head"]["file"] = "https://example.org/a.bin".into(),
            "`head` has a file that is not named",
        ),
        (
            "a way out in the hash",
            |m| m["head"]["sha256"] = "../".repeat(32)[..64].into(),
            "not 64 lower-case hexadecimal digits",
        ),
        (
            "a short hash",
            |m| m["tokenizer"]["sha256"] = "abc".into(),
            "not 64 lower-case hexadecimal digits",
        ),
        (
            "a hash in capitals",
            |m| m["embedding"]["sha256"] = "A".repeat(64).into(),
            "not 64 lower-case hexadecimal digits",
        ),
        (
            "another's name",
            |m| m["layers"][0]["file"] = m["layers"][1]["file"].clone(),
            "`layers[0]` has a file that is not named",
        ),
        (
            "another ending",
            |m| m["tokenizer"]["file"] = m["head"]["file"].clone(),
            "not named <sha256>.json",
        ),
        (
            "a head where there is none",
            |m| {
                m["head"]["formats"]["head"] = "q8".into();
                m["head"]["bytes"] = 35_072.into();
            },
            "contradict each other",
        ),
        (
            "an untied head that is missing",
            |m| m["config"]["tied_head"] = false.into(),
            "contradict each other",
        ),
        (
            "an empty plan",
            |m| m["plans"][1]["layers"] = json!([]),
            "plan `half`: no layer is left",
        ),
        (
            "a plan too deep",
            |m| m["plans"][1]["layers"] = json!([0, 5]),
            "plan `half`: there is no layer 5",
        ),
        (
            "a plan out of order",
            |m| m["plans"][1]["layers"] = json!([1, 0]),
            "layer 0 does not follow layer 1",
        ),
        (
            "a plan of negative layers",
            |m| m["plans"][1]["layers"] = json!([-1]),
            "the manifest is damaged",
        ),
        (
            "two plans of one name",
            |m| m["plans"][1]["name"] = "full".into(),
            "has two plans named `full`",
        ),
        (
            "a plan without a name",
            |m| m["plans"][1]["name"] = "".into(),
            "1 to 64 printable characters",
        ),
        (
            "a negative loss",
            |m| {
                figure(
                    m,
                    json!({ "cross_entropy": -1.0, "agreement": null, "kl": null }),
                )
            },
            "a figure that is none for `half`",
        ),
        (
            "more agreement than there is",
            |m| {
                figure(
                    m,
                    json!({ "cross_entropy": 1.0, "agreement": 1.01, "kl": 0.1 }),
                )
            },
            "a figure that is none for `half`",
        ),
        (
            "figures without a text",
            |m| {
                let figure = json!({ "cross_entropy": 1.0, "agreement": 0.9, "kl": 0.1 });
                m["plans"][1]["figures"] = json!([figure]);
            },
            "more figures than texts for `half`",
        ),
        (
            "no list of replacements",
            |m| drop(m.remove("replacements")),
            "missing field `replacements`",
        ),
        (
            "a replacement for a layer that is not there",
            |m| replace(m, &[(5, 0)], json!([0])),
            "`replacements[0]` is for layer 5, which is not there",
        ),
        (
            "a replacement that is not there",
            |m| replace(m, &[(1, 0)], json!([1])),
            "`plans.half` runs replacement 1; there are 1",
        ),
        (
            "a layer replaced twice",
            |m| replace(m, &[(1, 0), (1, 2)], json!([0, 1])),
            "`plans.half` replaces layer 1 twice",
        ),
        (
            "a replacement for a layer that the plan leaves out",
            |m| replace(m, &[(3, 0)], json!([0])),
            "layer 3 does not run, so nothing can take its place",
        ),
        (
            "a replacement of another size",
            |m| {
                replace(m, &[(1, 0)], json!([0]));
                m["replacements"][0]["bytes"] = 1.into();
            },
            "`replacements[0]` has 1 bytes; its shape and formats make",
        ),
        (
            "a way out through a replacement",
            |m| {
                replace(m, &[(1, 0)], json!([0]));
                m["replacements"][0]["file"] = "../../etc/passwd".into();
            },
            "`replacements[0]` has a file that is not named <sha256>.bin",
        ),
        (
            "a negative replacement",
            |m| m["plans"][1]["replacements"] = json!([-1]),
            "the manifest is damaged",
        ),
        (
            "a replaced head that is not there",
            |m| m["plans"][1]["head"] = 0.into(),
            "`plans.half` runs replaced head 0; there are 0",
        ),
        (
            "a replaced head of another size",
            |m| {
                m["heads"] = json!([m["head"]]);
                m["heads"][0]["formats"]["head"] = "q8".into();
            },
            "`heads[0]` has 256 bytes; its shape and formats make",
        ),
    ];
    let real = stories();
    let mut largest = 0;
    for (name, change, expected) in rows {
        let json = edit_object(&real.files[MANIFEST], change);
        largest = largest.max(refused(name, &json, expected));
    }
    let text = |repeated: &str| -> Vec<u8> {
        let head = br#"{"format":"halfdepth-pack","version":2,"plans":[{"layers":["#;
        [
            &head[..],
            repeated.repeat((4 << 20) / repeated.len() - 100).as_bytes(),
        ]
        .concat()
    };
    let whole: &[(&str, Vec<u8>, &str)] = &[
        ("empty", vec![], "not the manifest of a Halfdepth pack"),
        (
            "a web page",
            b"<!doctype html>".to_vec(),
            "not the manifest of a Halfdepth pack",
        ),
        (
            "cut",
            real.files[MANIFEST][..900].to_vec(),
            "not the manifest of a Halfdepth pack",
        ),
        (
            "not text",
            vec![0xff; 64],
            "not the manifest of a Halfdepth pack",
        ),
        (
            "too deep",
            b"[".repeat(100_000),
            "not the manifest of a Halfdepth pack",
        ),
        (
            "oversized",
            vec![b' '; 5 << 20],
            "more than the 4194304 it may have",
        ),
        (
            "a key twice",
            br#"{"format":"a","format":"b","version":1}"#.to_vec(),
            "duplicate field `format`",
        ),
        (
            "nothing but numbers",
            text("0,"),
            "not the manifest of a Halfdepth pack",
        ),
    ];
    for (name, json, expected) in whole {
        largest = largest.max(refused(name, json, expected));
    }
    println!(
        "{} manifests refused; the dearest took {largest} bytes at once",
        rows.len() + whole.len()
    );
}

#[test]
fn a_manifest_of_nothing_but_plans_stays_small_in_memory() {
    // As much as the limit lets through: two bytes of text become eight in memory.
    let json = edit_object(&stories().files[MANIFEST], |manifest| {
        manifest["plans"][1]["layers"] = vec![Value::from(1); 2_000_000].into();
    });
    assert!(json.len() > 3 << 20 && json.len() < 4 << 20);
    let (result, peak) = peak_bytes(|| Manifest::parse(&json).err().unwrap().to_string());
    assert!(
        result.contains("layer 1 does not follow layer 1"),
        "{result}"
    );
    assert!(peak < 64 << 20, "{peak}");
}

#[test]
fn broken_shards_are_named() {
    let stored = stories();
    let (file, shard) = (name(&stored, Role::Layer(2)), stored.file(Role::Layer(2)));
    let changed = |at: usize| {
        let mut bytes = shard.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let rows: [(&str, Vec<u8>, &str); 7] = [
        (
            "empty",
            vec![],
            "(layer 2) has 0 bytes, the manifest says 26880; download it again",
        ),
        ("cut", shard[..20_000].to_vec(), "(layer 2) has 20000 bytes"),
        (
            "longer",
            [shard, &[0]].concat(),
            "(layer 2) has 26881 bytes",
        ),
        (
            "its first bit",
            changed(0),
            "(layer 2) is damaged: its SHA-256 is",
        ),
        (
            "a bit in the middle",
            changed(10_000),
            "(layer 2) is damaged",
        ),
        ("its last bit", changed(26_879), "(layer 2) is damaged"),
        (
            "another layer",
            stored.file(Role::Layer(3)).to_vec(),
            "(layer 2) is damaged",
        ),
    ];
    for (row, bytes, expected) in rows {
        let (result, peak) = peak_bytes(|| stored.manifest.read_layer(2, &bytes));
        let error = result.expect_err(row).to_string();
        assert!(
            error.contains(expected) && error.contains(&file),
            "{row}: {error}"
        );
        assert!(peak < MOST_BYTES, "{row}: {peak}");
    }
    let error = stored.manifest.read_layer(5, shard).unwrap_err();
    assert!(
        matches!(
            error,
            PackError::NoSuchLayer {
                layer: 5,
                layers: 5
            }
        ),
        "{error}"
    );
    for (role, read) in [
        (Role::Tokenizer, stored.manifest.read_tokenizer(b"[]").err()),
        (Role::Embedding, stored.manifest.read_embedding(shard).err()),
        (Role::Head, stored.manifest.read_head(shard).err()),
    ] {
        let error = read.unwrap().to_string();
        assert!(
            error.contains(&role.to_string()) && error.contains("download it again"),
            "{error}"
        );
    }
}

#[test]
fn values_that_are_not_finite_are_named_even_under_the_right_hash() {
    let stored = stories();
    // The norm (256 bytes), the scales of q, k and v (after 4096 of words), those of the output (after 512 and 2048).
    for (at, section) in [
        (0, "attention_norm"),
        (256 + 4096, "qkv"),
        (256 + 4096 + 512 + 2048, "output"),
    ] {
        let mut bytes = stored.file(Role::Layer(0)).to_vec();
        bytes[at..at + 4].fill(0xff);
        let sha256: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let json = edit_object(&stored.files[MANIFEST], |manifest| {
            manifest["layers"][0]["file"] = format!("{sha256}.bin").into();
            manifest["layers"][0]["sha256"] = sha256.into();
        });
        let manifest = Manifest::parse(&json).unwrap();
        let error = manifest.read_layer(0, &bytes).unwrap_err().to_string();
        assert!(error.contains("not finite in `"), "{section}: {error}");
        assert!(error.contains(section), "{section}: {error}");
    }
}

#[test]
fn checkpoints_that_cannot_be_packed_are_named() {
    let mut folder = Folder::of("stories260K");
    let end = folder.shards[0].1.len();
    folder.shards[0].1[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let checkpoint = folder.open().unwrap();
    let options = halfdepth::pack::PackOptions {
        name: "a test".into(),
        source: Default::default(),
        layers: Format::Q4,
        embedding: Format::Q4,
        plans: vec![],
    };
    let written = halfdepth::pack::write(
        &checkpoint,
        b"{}",
        &options,
        &mut |_, _| Ok(()),
        &mut |_, _| (),
    );
    let error = written.unwrap_err().to_string();
    assert!(
        error.contains("`model.norm.weight` holds a value that is not finite"),
        "{error}"
    );
}

fn stories() -> Stored {
    let bytes = gguf("q4_0");
    pack(
        &Checkpoint::from_gguf(&bytes).unwrap(),
        Format::Q4,
        Format::Q8,
    )
}

fn name(stored: &Stored, role: Role) -> String {
    stored
        .manifest
        .files()
        .into_iter()
        .find(|info| info.role == role)
        .unwrap()
        .file
}

fn refused(name: &str, json: &[u8], expected: &str) -> usize {
    let (result, peak) = peak_bytes(|| Manifest::parse(json));
    let error = result.expect_err(name).to_string();
    assert!(
        error.contains(expected),
        "{name}: expected `{expected}` in: {error}"
    );
    assert!(error.len() < 400, "{name}: {error}");
    assert!(peak < MOST_BYTES, "{name}: {peak} bytes at once");
    peak
}
