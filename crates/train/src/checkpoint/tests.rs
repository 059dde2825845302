use super::*;

fn state(step: u64) -> State {
    State {
        format: FORMAT,
        step,
        tokens: step * 64,
        seed: 1,
        cursor: Position::default(),
        optim: Counts::default(),
        metrics_bytes: 0,
        config: "c".into(),
        plan: "p".into(),
        corpus: "d".into(),
    }
}

fn named(name: &str, values: &[f32]) -> Vec<Named> {
    vec![(
        name.to_owned(),
        TensorData::new(values.to_vec(), [values.len()]),
    )]
}

fn save(checkpoints: &Checkpoints, step: u64) -> PathBuf {
    let at = step as f32;
    checkpoints
        .save(
            &state(step),
            || named("embed.weight", &[at, -0.0, f32::MIN_POSITIVE]),
            || named("embed.weight/m", &[0.5 * at]),
        )
        .unwrap()
}

#[test]
fn what_is_saved_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    let path = save(&checkpoints, 20);
    let loaded = Loaded::read(&path).unwrap();
    assert_eq!(loaded.state, state(20));
    assert_eq!(loaded.model[0].0, "embed.weight");
    let bits: Vec<u32> = loaded.model[0].1.iter::<f32>().map(f32::to_bits).collect();
    assert_eq!(
        bits,
        [
            20.0_f32.to_bits(),
            (-0.0_f32).to_bits(),
            f32::MIN_POSITIVE.to_bits()
        ]
    );
    assert_eq!(loaded.optim, named("embed.weight/m", &[10.0]));
}

#[test]
fn old_checkpoints_go_once_the_new_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    for step in [10, 20, 30] {
        save(&checkpoints, step);
    }
    assert_eq!(
        checkpoints.names().unwrap(),
        ["step-00000020", "step-00000030"]
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("latest")).unwrap(),
        "step-00000030\n"
    );
}

#[test]
fn every_flipped_byte_of_every_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    let old = save(&checkpoints, 10);
    let new = save(&checkpoints, 20);
    for name in [MODEL, OPTIM, STATE, SUMS] {
        let file = new.join(name);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            fs::write(&file, &flipped).unwrap();
            let error = Loaded::read(&new).unwrap_err();
            let TrainError::Damaged {
                file: found,
                intact,
                ..
            } = &error
            else {
                panic!("{name}, byte {at}: {error}");
            };
            assert!(name == SUMS || *found == file, "{name}, byte {at}: {error}");
            assert_eq!(intact.as_ref(), Some(&old), "{name}, byte {at}");
        }
        fs::write(&file, &whole).unwrap();
    }
    Loaded::read(&new).unwrap();
}

#[test]
fn the_error_of_a_damaged_file_names_it_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    save(&checkpoints, 10);
    let new = save(&checkpoints, 20);
    let file = new.join(MODEL);
    fs::remove_file(&file).unwrap();
    let text = Loaded::read(&new).unwrap_err().to_string();
    for part in [
        &file.display().to_string(),
        "missing",
        "step-00000010",
        "intact",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

/// A kill may come after any file was written. Whatever it leaves, the newest complete checkpoint counts.
#[test]
fn a_kill_while_saving_leaves_the_checkpoint_before() {
    for written in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let before = save(&Checkpoints::open(dir.path(), 2).unwrap(), 10);
        let aside = dir.path().join(".saving-step-00000020");
        fs::create_dir(&aside).unwrap();
        for name in [MODEL, OPTIM, STATE, SUMS].iter().take(written) {
            fs::write(aside.join(name), b"half").unwrap();
        }
        let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
        assert!(!aside.exists());
        assert_eq!(checkpoints.newest().unwrap(), Some(before.clone()));
        Loaded::read(&before).unwrap();
        save(&checkpoints, 20);
    }
}

#[test]
fn a_kill_before_latest_moves_counts_the_checkpoint_that_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    save(&checkpoints, 10);
    let new = save(&checkpoints, 20);
    fs::write(dir.path().join("latest"), "step-00000010\n").unwrap();
    fs::write(dir.path().join(".latest.new"), "step").unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    assert_eq!(checkpoints.newest().unwrap(), Some(new));
    assert_eq!(
        fs::read_to_string(dir.path().join("latest")).unwrap(),
        "step-00000020\n"
    );
}

#[test]
fn a_kill_while_removing_leaves_no_half_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    save(&checkpoints, 10);
    let removing = dir.path().join(".removing-step-00000005");
    fs::create_dir(&removing).unwrap();
    fs::write(removing.join(SUMS), b"rest").unwrap();
    Checkpoints::open(dir.path(), 2).unwrap();
    assert!(!removing.exists());
}

#[test]
fn another_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path(), 2).unwrap();
    let later = State {
        format: FORMAT + 1,
        ..state(1)
    };
    let path = checkpoints.save(&later, Vec::new, Vec::new).unwrap();
    let error = Loaded::read(&path).unwrap_err();
    assert!(matches!(error, TrainError::Foreign { .. }), "{error}");
}
