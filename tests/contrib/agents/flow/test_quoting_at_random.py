"""Commands put together at random: a hostile value comes out where a plain one does, and nothing else happens."""

from __future__ import annotations

import os
import random
import subprocess

import pytest

from liteq_flow.shells.shell import Script, ShellRefused
from liteq_flow.values import Scope

REFERENCE = "${params.v}"
PLAIN = "VaLuE"
HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "\\'; touch pwned #",
    "a\nEOF\ntouch pwned\nEOF\n'\"",
    "}; touch pwned; ${",
    "x[$(touch pwned)]",
    ") ; touch pwned ; (",
    '\\\\"$(touch pwned)',
]
NESTED = 3
SHELLS = [shell for shell in ("bash", "dash") if os.access(f"/bin/{shell}", os.X_OK)]
SCRIPTS = 1000 if os.environ.get("LITEQ_TEST_NIGHTLY") else 60


class Maker:
    """Makes commands; `deep`: how far they may nest."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)

    def several(self, make, most):
        return [make() for _ in range(self.pick.randrange(1, most + 1))]

    def word(self, deep, quoted=False):
        """A part of a word; `quoted`: inside of ""."""
        plain = [REFERENCE, "lit", "it's" if quoted else "\\'", '\\"', "\\\\", "$HOME", "#x", "$((1+2))"]
        if not deep or self.pick.random() < 0.4:
            return self.pick.choice(plain)
        inner = self.pick.choice(
            [
                lambda: f"$({self.command(deep - 1)})",
                lambda: f"$( ( {self.command(deep - 1)} ) )",
                lambda: f"$(case x in a|x) {self.command(deep - 1)};; (y) :;; esac)",
                lambda: f"${{U:-{self.word(deep - 1, quoted=True)}}}",
                lambda: "${A%%.*}",
                lambda: "".join(self.several(lambda: self.word(deep - 1, quoted=True), 3)),
            ]
        )()
        if quoted:
            return inner
        single = (
            "'" + "".join(self.several(lambda: self.pick.choice([REFERENCE, "a", '"', "`", "$(", "\\\\"]), 3)) + "'"
        )
        return self.pick.choice([f'"{inner}"', f'"{inner}"', single])

    def words(self, deep):
        return "".join(self.several(lambda: self.word(deep), 2))

    def command(self, deep):
        printed = "printf '[%s]' " + " ".join(self.several(lambda: self.words(deep), 3))
        if not deep:
            return printed
        return self.pick.choice(
            [
                lambda: printed,
                lambda: f"x={self.words(deep)}; printf '<%s>' \"$x\"",
                self.here_document,
                lambda: f"if [ {self.words(deep)} = a ]; then :\nelse {self.command(deep - 1)}\nfi",
                lambda: f"f() {{ printf '{{%s}}' \"$@\"; }}; f {self.words(deep)} # don't \" `\n",
                lambda: f"for i in {self.words(deep)}; do {self.command(deep - 1)}\ndone",
            ]
        )()

    def here_document(self):
        end = self.pick.choice(["EOF", "'EOF'", "-EOF", '"EOF"'])
        lines = [REFERENCE, "it's", ' "q" ', "$HOME", "\\$x", "\\\\", "`echo h`", "a\n", "$(echo y)"]
        return f"cat <<{end}\n{''.join(self.several(lambda: self.pick.choice(lines), 4))}\nEOF\n"


def run(shell, script, value, folder):
    text, variables = script.fill(Scope(params={"v": value}))
    done = subprocess.run(
        [f"/bin/{shell}", "-c", text],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/h", "A": "a.b", "LC_ALL": "C.UTF-8", **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_hostile_value_comes_out_where_a_plain_one_does(shell, tmp_path):
    compared = 0
    for seed in range(SCRIPTS):
        maker = Maker(seed)
        command = f"{maker.command(NESTED)}\n{maker.command(NESTED)}"
        try:
            script = Script.read(command, shell=(shell,))
        except ShellRefused:
            continue
        value = maker.pick.choice(HOSTILE)
        plain, hostile = run(shell, script, PLAIN, tmp_path), run(shell, script, value, tmp_path)
        assert hostile == (plain[0], plain[1].replace(PLAIN, value)), (seed, command)
        assert not list(tmp_path.iterdir()), (seed, command)
        compared += plain[0] == 0 and PLAIN in plain[1]
    assert compared > SCRIPTS / 4  # most of them say something
