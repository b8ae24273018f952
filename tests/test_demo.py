from __future__ import annotations

import os
import subprocess
import sys

from .databases import require_tasks_in_the_database


def test_demo__ends_well_and_by_itself(site_database_url, tmp_path):
    require_tasks_in_the_database()
    demo = subprocess.run(
        [sys.executable, "-m", "example_project.demo", "--once"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "DATABASE_URL": site_database_url},
        text=True,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "9 of 9 ended as they should." in demo.stdout
    assert demo.stderr == ""
