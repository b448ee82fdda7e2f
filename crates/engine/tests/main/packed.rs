//! Packed weights kept on disk: the same bits, and never a wrong file taken for a right one.

use std::path::{Path, PathBuf};

use openledger_engine::{Lora, Model, NumericMode, Runtime, logits};

use crate::common::{busy_lora, random_ids, tiny};

fn only_file(dir: &Path) -> PathBuf {
    let files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_model_mapped_from_its_cache_gives_the_bits_and_the_hash_of_one_that_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    tiny(false, 3).save(dir.path()).unwrap();
    for mode in NumericMode::ALL {
        let cache = tempfile::tempdir().unwrap();
        let loaded = Model::load(dir.path()).unwrap().with_mode(mode).unwrap().with_runtime(Runtime::new(1));
        let ids = random_ids(&loaded, 20, 1);
        let want = logits(&loaded, None, &ids).unwrap();
        let check = |why: &str| {
            let model = Model::load_packed(dir.path(), mode, cache.path()).unwrap().with_runtime(Runtime::new(1));
            assert_eq!(logits(&model, None, &ids).unwrap(), want, "{mode}, {why}");
            assert_eq!((model.hash(), model.mode()), (loaded.hash(), mode));
            assert_eq!(model.params(), loaded.params());
        };
        check("packed for the first time");
        check("mapped");
        let path = only_file(cache.path());
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 8;
        for (damaged, why) in [(&bad[..], "a bit was flipped"), (&good[..good.len() / 3], "it was cut")] {
            std::fs::write(&path, damaged).unwrap();
            check(why);
            assert!(std::fs::read(only_file(cache.path())).unwrap() == good, "rebuilt after {why}");
        }
    }
}

#[test]
fn a_cache_is_not_taken_for_that_of_a_checkpoint_that_changed() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let load = || Model::load_packed(dir.path(), NumericMode::F32Fma, cache.path()).unwrap();
    tiny(true, 3).save(dir.path()).unwrap();
    let first = load();
    tiny(true, 4).save(dir.path()).unwrap();
    let second = load();
    assert_ne!(first.hash(), second.hash());
    assert_ne!(first.params(), second.params());
    assert_eq!(second.params(), Model::load(dir.path()).unwrap().params());
}

#[test]
fn a_mapped_adapter_is_the_one_that_was_written_or_none() {
    let (model, dir) = (tiny(true, 1), tempfile::tempdir().unwrap());
    let ids = random_ids(&model, 20, 1);
    let lora = busy_lora(&model, 5, 2);
    let path = dir.path().join("a.packed");
    lora.write_packed(&path).unwrap();
    let mapped = Lora::map_packed(&path, &model, lora.hash()).unwrap();
    assert_eq!(logits(&model, Some(&mapped), &ids).unwrap(), logits(&model, Some(&lora), &ids).unwrap());
    assert_eq!((mapped.config(), mapped.hash()), (lora.config(), lora.hash()));
    // Written again from the mapping, and its values read back from there.
    let again = dir.path().join("b.packed");
    mapped.write_packed(&again).unwrap();
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap());
    assert_eq!(mapped.params(), lora.params());

    let other = busy_lora(&model, 5, 3);
    assert!(Lora::map_packed(&path, &model, other.hash()).is_none());
    let wider = Model::init(openledger_engine::ModelConfig { hidden: 32, ..model.config().clone() }, 1).unwrap();
    assert!(Lora::map_packed(&path, &wider, lora.hash()).is_none());
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..good.len() - 64]).unwrap();
    assert!(Lora::map_packed(&path, &model, lora.hash()).is_none());
    assert!(Lora::map_packed(&dir.path().join("absent"), &model, lora.hash()).is_none());
}
