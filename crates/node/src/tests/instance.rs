//! The name of an instance.

use crate::instance::Instance;

#[test]
fn an_instance_has_the_same_name_after_a_restart_in_its_folder_and_another_one_elsewhere() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Instance::of(one.path()).unwrap();
    assert_eq!(first.name(), Instance::of(one.path()).unwrap().name());
    assert_ne!(first.name(), Instance::of(other.path()).unwrap().name());
}

#[test]
fn an_instance_whose_name_was_cut_off_gets_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("instance"), "\n").unwrap();
    let name = Instance::of(folder.path()).unwrap().name().to_owned();
    assert!(!name.is_empty());
    assert_eq!(Instance::of(folder.path()).unwrap().name(), name);
}
