//! Which Python a task runs in.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;

use super::Error;

/// The interpreter that `name` stands for: a path, a command, or the folder of a virtual environment. What is not an
/// absolute path is looked for in `path` (the value of PATH), unless it has a slash, and then in `folders`.
///
/// The path of a virtual environment's interpreter is a symbolic link, and Python finds the environment by it;
/// so links are not followed.
pub(super) fn resolve(name: &str, path: Option<&OsStr>, folders: &[&Path]) -> Result<PathBuf, Error> {
    let mut looked = Vec::new();
    if !name.contains('/') {
        let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
        let found = std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|file| is_program(file));
        if let Some(found) = found {
            return Ok(found);
        }
        looked.push(format!("PATH (`{}`)", path.to_string_lossy()));
    }
    let given = match (name.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(name),
    };
    for folder in folders {
        // An absolute path stays as it is.
        let place = folder.join(&given);
        let label = format!("`{}`", place.display());
        if looked.contains(&label) {
            continue;
        }
        let inside = [place.join("bin/python"), place.join("bin/python3")];
        if let Some(found) = std::iter::once(place).chain(inside).find(|file| is_program(file)) {
            return Ok(found);
        }
        looked.push(label);
    }
    Err(Error::NoInterpreter { name: name.to_owned(), looked: looked.join(", ") })
}

fn is_program(file: &Path) -> bool {
    file.is_file() && nix::unistd::access(file, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn interpreters_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for (file, mode) in [
            ("bin/python9", 0o755),
            ("dags/venv/bin/python", 0o755),
            ("project/old/bin/python3", 0o755),
            ("dags/text", 0o644),
        ] {
            let file = root.join(file);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("created");
            std::fs::write(&file, "").expect("written");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
        }
        let (bin, dags, project) = (root.join("bin"), root.join("dags"), root.join("project"));
        let absolute = root.join("dags/venv").display().to_string();
        for (name, expected) in [
            ("python9", Some("bin/python9")),
            ("venv", Some("dags/venv/bin/python")),
            ("./venv/bin/python", Some("dags/./venv/bin/python")),
            ("../dags/venv", Some("dags/../dags/venv/bin/python")),
            ("old", Some("project/old/bin/python3")),
            (&absolute, Some("dags/venv/bin/python")),
            ("text", None),
            ("./python9", None),
        ] {
            let found = resolve(name, Some(bin.as_os_str()), &[&dags, &project]).ok();
            assert_eq!(found, expected.map(|file| root.join(file)), "{name}");
        }
        let error = resolve("none", Some(OsStr::new("/a:/b")), &[Path::new("/dags"), Path::new("/dags")]);
        assert_eq!(
            error.expect_err("not there").to_string(),
            "there is no Python interpreter `none`; looked in PATH (`/a:/b`), `/dags/none`. `python` is an interpreter's path or name, or the folder of a virtual environment"
        );
    }
}
