//! The integration tests: one binary, one module an area.

#[cfg(feature = "sim")]
mod apply_crash;
#[cfg(feature = "sim")]
mod apply_document;
#[cfg(feature = "sim")]
mod apply_script;
#[cfg(all(feature = "aws", feature = "sim"))]
mod aws_client;
#[cfg(feature = "sim")]
mod awscli;
mod carrier_equality;
mod documents;
#[cfg(all(feature = "aws", feature = "sim"))]
mod end_to_end;
#[cfg(all(feature = "aws", feature = "sim"))]
mod fault_proxy;
#[cfg(all(feature = "aws", feature = "sim"))]
mod fleet;
#[cfg(all(feature = "aws", feature = "sim"))]
mod halt;
#[cfg(all(feature = "aws", feature = "sim"))]
mod history;
#[cfg(feature = "sim")]
mod observe_script;
mod policies;
#[cfg(feature = "sim")]
mod put_back;
mod readme;
mod render;
#[cfg(all(feature = "aws", feature = "sim"))]
mod rollout;
#[cfg(feature = "sim")]
mod scene;
#[cfg(all(feature = "aws", feature = "sim"))]
mod screens;
#[cfg(all(feature = "aws", feature = "sim"))]
mod sim_faults;
#[cfg(feature = "sim")]
mod sim_host;
#[cfg(feature = "sim")]
mod sim_parameters;
#[cfg(feature = "sim")]
mod sim_wire;
mod tidy;
#[cfg(feature = "sim")]
mod user_data;
mod user_data_text;
#[cfg(feature = "sim")]
mod windows_apply;
#[cfg(feature = "sim")]
mod windows_carrier;
#[cfg(feature = "sim")]
mod windows_equality;
#[cfg(all(feature = "aws", feature = "sim"))]
mod windows_fleet;
mod windows_scripts;
#[cfg(feature = "sim")]
mod windows_user_data;
#[cfg(feature = "sim")]
mod winhost;
#[cfg(feature = "sim")]
mod wire_client;

/// A file without its `mod` line would be tests that never run.
#[test]
fn every_file_of_this_folder_is_a_module() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let main = std::fs::read_to_string(format!("{folder}/main.rs")).expect("this file can be read");
    for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
        let name = entry.expect("the folder can be listed").file_name().into_string().expect("names are UTF-8");
        let Some(module) = name.strip_suffix(".rs") else { continue };
        assert!(module == "main" || main.contains(&format!("mod {module};\n")), "{name} is in no `mod` line");
    }
}
