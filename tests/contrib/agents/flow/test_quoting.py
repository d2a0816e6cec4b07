"""A value in a command is never code: run in the real shells, in every place in which a reference may stand."""

from __future__ import annotations

import os
import subprocess

import pytest

from liteq_flow.shells.shell import Script, ShellRefused, interpreter_of
from liteq_flow.values import Scope

SHELLS = [shell for shell in ("sh", "bash", "dash", "ksh", "zsh") if os.access(f"/bin/{shell}", os.X_OK)]

HOSTILE = [
    "plain",
    "",
    "two  words",
    " edges ",
    "$(touch pwned)",
    "`touch pwned`",
    "${IFS}$HOME$$",
    "; touch pwned;",
    "& touch pwned &",
    "| touch pwned",
    "\ntouch pwned\n",
    "> pwned",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "'\"'\"'; touch pwned #",
    "$(touch pwned)\"$(touch pwned)\"'$(touch pwned)'",
    "\\",
    "\\\\",
    "\\'; touch pwned; \\'",
    '\\"; touch pwned; \\"',
    "\\$(touch pwned)",
    "* ? [a-z] ~ {a,b}",
    "#x",
    "-n",
    "%s%n\\n",
    "END\ntouch pwned\nEND",
    "EOF\ntouch pwned\nEOF\n",
    ")touch pwned(",
    "}; touch pwned; {",
    "x[$(touch pwned)]",
    "a[$(touch pwned)]+1",
    "!! !touch",
    "() { :; }; touch pwned",
    "\t\ttabs",
    "grüße, 日本語, \U0001f600",
    "\x01\x1b[31m\x7f",
    "%(touch pwned)",
    "<(touch pwned)",
    "))touch pwned((",
    "${params.other}",
    "${LITEQ_V1}",
]

# Each writes the value, between brackets, or between what says how it is seen there.
PLACES = {
    "bare": "printf '[%s]' ${params.v}",
    "bare, in a word": "printf '%s' [${params.v}]",
    "bare, after an option": "o() { printf '[%s]' \"${1#--x=}\"; }; o --x=${params.v}",
    "double": 'printf "%s" "[${params.v}]"',
    "double, among others": 'A=1; printf "%s" "$(printf "[")${params.v}]${B:-}"',
    "single": "printf '%s' '[${params.v}]'",
    "single, beside an escape": "q() { x=${1#\\'}; printf '[%s]' \"${x%\\'}\"; }; q ''\\''${params.v}'\\'''",
    "command substitution": "printf '%s' \"$(printf '[%s]' ${params.v})\"",
    "command substitution, double": 'printf "%s" "$(printf "[%s]" "${params.v}")"',
    "command substitution, single": "printf '%s' \"$(printf '[%s]' '${params.v}')\"",
    "nested": 'printf "%s" "$(printf "%s" "$(printf "[%s]" "${params.v}")")"',
    "backticks": "printf '%s' `true`; X=`printf '[%s]' ${params.v}`; printf '%s' \"$X\"",
    "subshell": "(printf '[%s]' ${params.v})",
    "group": "{ printf '[%s]' ${params.v}; }",
    "function": "f() { printf '[%s]' \"$1\"; }; f ${params.v}",
    "assignment": 'x=${params.v}; printf "[%s]" "$x"',
    "assignment in double": 'x="[${params.v}]"; printf "%s" "$x"',
    "environment": 'X=${params.v} sh -c \'printf "[%s]" "$X"\'',
    "argument of a shell": 'sh -c \'printf "[%s]" "$1"\' _ ${params.v}',
    "exported": 'export X="${params.v}"; sh -c \'printf "[%s]" "$X"\'',
    "default": 'printf "[%s]" "${UNSET:-${params.v}}"',
    "default, bare": "printf '[%s]' ${UNSET:-${params.v}}",
    "alternative": 'S=1; printf "[%s]" "${S:+${params.v}}"',
    "loop": "for x in ${params.v}; do printf '[%s]' \"$x\"; done",
    "condition": "if [ ${params.v} = ${params.v} ]; then printf '[%s]' ${params.v}; fi",
    "case": "case ${params.v} in ${params.v}) printf '[%s]' ${params.v};; *) printf no;; esac",
    "case in a substitution": "printf '%s' \"$(case x in x) printf '[%s]' ${params.v};; esac)\"",
    "here-document": "cat <<EOF\n[${params.v}]\nEOF\n",
    "here-document, quoted": "cat <<'EOF'\n[${params.v}]\nEOF\n",
    "here-document, with tabs": "\tcat <<-EOF\n\t[${params.v}]\n\tEOF\n",
    "two here-documents": 'cat <<A - <<"B"\nnot $(printf this)\nA\n[${params.v}]\nB\n',
    "here-document in a substitution": "printf '%s' \"$(cat <<EOF\n[${params.v}]\nEOF\n)\"",
    "after a comment": "# it's ${params.v} `\nprintf '[%s]' ${params.v}",
    "after a hash in a word": "printf '%s' a#'b' >/dev/null; printf '[%s]' ${params.v}",
    "over lines": "printf \\\n  '[%s]' \\\n  ${params.v}",
    "after an escaped quote": "printf '%s' \\' \\\" >/dev/null; printf '[%s]' ${params.v}",
    "twice": "printf '%s' \"${params.v}\" >/dev/null; printf '[%s]' ${params.v}",
    "and": "true && printf '[%s]' ${params.v} || false",
    "redirected": "printf '[%s]' ${params.v} > out 2>&1 < /dev/null; cat out",
}
IN_BASH = {
    "ansi": "printf '%s' $'[${params.v}]'",
    "here-string": "IFS= read -r -d '' x <<< ${params.v} || true; printf '[%s]' \"${x%$'\\n'}\"",
    "array": "a=(${params.v}); printf '[%s]' \"${a[@]}\"",
    "double bracket": "[[ ${params.v} == ${params.v} ]] && printf '[%s]' ${params.v}",
    "pattern": 'x=abc; printf "%s" "${x#${params.v}}" >/dev/null; printf "[%s]" ${params.v}',
    "process substitution": "cat <(printf '[%s]' ${params.v})",
    "local": "f() { local x=${params.v}; printf '[%s]' \"$x\"; }; f",
    "localised": 'printf "%s" $"[${params.v}]"',
}


def run(shell, command, scope, folder):
    script = Script.read(command, shell=(shell,))
    text, variables = script.fill(scope)
    return subprocess.run(
        [f"/bin/{shell}", "-c", text],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path):
    """Nothing is in it, so that nothing is found by a pattern either."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_value_comes_out_as_it_went_in_and_runs_nothing(shell, folder):
    places = PLACES if shell in {"sh", "dash"} else {**PLACES, **IN_BASH}
    # All places in one script: a place that was read wrong shows in those after it, and it is one process a value.
    command = "\nprintf '\\n-- next --\\n'\n".join(places.values())
    for value in HOSTILE:
        done = run(shell, command, Scope(params={"v": value}), folder)
        came_out = done.stdout.split("\n-- next --\n")
        for place, out in zip(places, came_out, strict=True):
            assert out.removesuffix("\n") == f"[{value}]", f"{place}: {places[place]!r}: {done.stderr}"
        assert sorted(path.name for path in folder.iterdir()) == ["out"], value


NOT_NUMBERS = ["x[$(touch pwned)]", "1+1", "", "0x10", "1; touch pwned", "PWD", "1.5", "１"]
COMPUTED = {
    "arithmetic": 'echo "[$((${params.v} + 1))]"',
    "arithmetic, bare": "echo [$(( 2 * ${params.v} ))]",
    "what an assignment puts there": 'n=${params.v}; echo "[$((n + 1))]"',
    "what it puts there in braces": 'n=${params.v}; echo "[$(( ${n} + 1 ))]"',
    "in place of a variable": "echo [$(( ${x:-${params.v}} ))]",
    "by way of another variable": "n=${params.v}; m=$n; echo [$((m + 1))]",
    "one of a list": "for n in ${params.v}; do echo [$((n + 1))]; done",
}
COMPUTED_BY_BASH = {
    "arithmetic command": "((x = ${params.v})); echo $x",
    "old arithmetic": 'echo "$[${params.v} + 1]"',
    "subscript": "a=(1 2 3); echo ${a[${params.v}]}",
    "subscript of an assignment": "a[${params.v}]=1",
    "offset": "x=abc; echo ${x:${params.v}}",
    "comparison": "[[ ${params.v} -eq 1 ]] || true",
    "comparison of a variable": 'n=${params.v}; [[ $n -gt 0 && "$n" -lt 9 ]] || true',
    "a name of a name": "n=${params.v}; echo ${!n}",
    "integer": "declare -i n=${params.v}",
    "integer, later": "declare -i n; n=${params.v}",
    "integer, of a variable": "n=${params.v}; declare -i m=$n",
    "integer, later, of a variable": "n=${params.v}; declare -i m; m=$n",
    "loop": "for ((i=0; i<${params.v}; i++)); do :; done",
    "loop over a variable": "n=${params.v}; for ((i=0; i<n; i++)); do :; done",
    "let": "n=${params.v}; let i=n+1",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_where_a_shell_computes_a_number_alone_passes(shell, folder):
    for place, command in (COMPUTED if shell in {"sh", "dash"} else {**COMPUTED, **COMPUTED_BY_BASH}).items():
        for value in NOT_NUMBERS:
            with pytest.raises(ShellRefused, match="whole number"):
                run(shell, command, Scope(params={"v": value}), folder)
        for value in (2, "2", -1):
            if not (value == -1 and place.startswith(("a name", "subscript"))):
                assert run(shell, command, Scope(params={"v": value}), folder).stderr == "", place


def test_a_variable_of_the_environment_that_a_shell_computes_with_is_a_number_too(folder):
    script = Script.read('echo $((COUNT + 1)) "$NAME"', shell=("bash",))
    assert script.fill(Scope(), {"COUNT": "2", "NAME": "x[$(id)]"})[0] == 'echo $((COUNT + 1)) "$NAME"'
    with pytest.raises(ShellRefused, match="COUNT"):
        script.fill(Scope(), {"COUNT": "x[$(id)]"})


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo \"$1\"' sh ${params.v}", "python3 -c 'import sys' -- ${params.v}",
        "node app.js -port=${params.v}", "python3 -u tool.py -config=${params.v}",
    ],
)  # fmt: skip
def test_what_is_an_argument_of_code_passes(command):
    Script.read(command)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ('eval "echo ${params.v}"', "code of `eval`"),
        ("trap 'rm ${params.v}' EXIT", "code of `trap`"),
        ("let x=${params.v}", "code of `let`"),
        ('sh -c "echo ${params.v}"', "code of `sh -c`"),
        ("exec /bin/bash -ec 'echo ${params.v}'", "code of `/bin/bash -ec`"),
        ("find . -exec sh -c 'echo ${params.v}' \\;", "code of `sh -c`"),
        ('python3 -c "print(${params.v})"', "code of `python3 -c`"),
        ('sh -ce "echo ${params.v}"', "code of `sh -ce`"),
        ('bash -c -- "echo ${params.v}"', "code of `bash -c`"),
        ('bash -c -o pipefail -e "echo ${params.v}"', "code of `bash -c`"),
        ('python3.11 -c "print(${params.v})"', "code of `python3.11 -c`"),
        ('python3 -W ignore -c"print(${params.v})"', "code of `python3 -c`"),
        ("perl -e'print ${params.v}'", "code of `perl -e`"),
        ('node --eval="print(${params.v})"', "code of `node --eval=`"),
        ('flock lock -c "echo ${params.v}"', "code of `flock -c`"),
        ('flock lock -c"echo ${params.v}"', "code of `flock -c`"),
        ("python3.12 - <<'EOF'\nprint('${params.v}')\nEOF\n", "code of `python3.12`"),
        ("2>&1 eval ${params.v}", "code of `eval`"),
        ("bash <<EOF\necho ${params.v}\nEOF\n", "code of `bash`"),
        ("python3 - <<'EOF'\nprint('${params.v}')\nEOF\n", "code of `python3`"),
        ("python3 - x <<EOF\n${params.v}\nEOF\n", "code of `python3`"),
        ("bash <<< ${params.v}", "code of `bash`"),
        ("source /dev/stdin <<< ${params.v}", "code of `source`"),
        ('echo "${params.v}" | sh', "code of `sh`"),
        ("echo ${params.v} |\n  sh\n", "code of `sh`"),
        ("echo ${params.v} |& (cd /; sh)", "code of `sh`"),
        ("echo ${params.v} | { sh; }", "code of `sh`"),
        ("cat ${params.v} | tr a b | sudo bash -s x", "code of `bash`"),
        ("unset ${params.v}", "a variable's name"),
        ("read ${params.v}", "a variable's name"),
        ("export ${params.v}", "a variable's name"),
        ("printf -v ${params.v} x", "a variable's name"),
        ("test -v ${params.v}", "a variable's name"),
        ("declare -n x=${params.v}", "a variable's name"),
        ("echo ${${params.v}}", "a variable's name"),
        ('echo "`echo ${params.v}`"', r"write \$\(\.\.\.\)"),
        ("echo `echo \\\\ ${params.v}`", r"write \$\(\.\.\.\)"),
        ("cat <<'a b'\n${params.v}\na b\n", "use a plain word"),
    ],
)
def test_where_a_value_would_be_code_a_reference_is_refused(command, why):
    with pytest.raises(ShellRefused, match=why):
        Script.read(command, shell=("bash",))


@pytest.mark.parametrize(
    "command",
    [
        "python3 load.py <<EOF\n${params.v}\nEOF\n",
        "echo ${params.v} | bash load.sh",
        "echo ${params.v} || sh",
        "echo ${params.v} | tee x; sh",
        "echo a | sh > ${params.v}",
        "grep -c ${params.v} <<< ${params.v}",
    ],
)
def test_what_reads_a_value_as_data_is_accepted(command):
    assert Script.read(command, shell=("bash",)).references


@pytest.mark.parametrize("command", ["((x = ${params.v}))", "printf $'\\'' ${params.v}"])
def test_what_not_every_sh_reads_alike_is_refused_beside_a_reference(command):
    with pytest.raises(ShellRefused, match="say `shell: bash`"):
        Script.read(command, shell=("sh",))
    Script.read(command.replace("${params.v}", "1"), shell=("sh",))


@pytest.mark.parametrize("shell", [("python3",), ("/usr/bin/env", "-S", "node"), ("pwsh", "-File")])
def test_a_script_of_another_language_takes_no_references(shell):
    with pytest.raises(ShellRefused, match="put it into `env:`"):
        Script.read('print("${params.v}")', shell=shell)
    assert Script.read('print("$v ${ITEM} ${x}")', shell=shell).fill(Scope()) == ('print("$v ${ITEM} ${x}")', {})


def test_what_is_the_shells_own_stays_as_it_is():
    for command in (
        "echo $HOME ${HOME} ${A:-b} ${A%%.*} $1 $? $$ ${#A} ${A//x/y} ${params...} $params.x ${ITEM}",
        "for ITEM in a b; do echo ${ITEM}; done",
        "printf '%s\\n' '$consts.service' '${SOURCE}'",
        "awk '{ print $1 }' <<EOF\n\"it's\" $(date)\nEOF\n",
    ):
        assert Script.read(command, shell=("sh",)).fill(Scope()) == (command, {})


def test_a_backslash_makes_text_of_a_reference(folder):
    command = (
        "printf '%s|' \\${params.v} \"\\${params.v}\" '\\${params.v}' '\\\\${params.v}'; cat <<'E'\n\\${params.v}\nE\n"
    )
    done = run("sh", command, Scope(params={"v": "value"}), folder)
    assert done.stdout == "${params.v}|${params.v}|${params.v}|\\\\value|${params.v}\n"


def test_an_item_and_documents_are_values_too(folder):
    scope = Scope(item={"k": "a b"}, outputs={"one": {"list": [1, {"x": None}]}})
    script = Script.read("printf '[%s]' ${ITEM} ${ITEM.k} ${one.output.list} ${steps.one.outputs.list[0]}", item=True)
    text, variables = script.fill(scope)
    done = subprocess.run(["sh", "-c", text], env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.stdout == '[{"k":"a b"}][a b][[1,{"x":null}]][1]'


@pytest.mark.parametrize(("value", "why"), [("a\0b", "NUL"), ("x" * 200_000, "200,000 bytes")])
def test_what_no_environment_takes_is_refused(value, why):
    with pytest.raises(ShellRefused, match=why):
        Script.read("echo ${params.v}").fill(Scope(params={"v": value}))


def test_the_interpreter_is_the_scripts_own_unless_the_step_names_one():
    assert interpreter_of("#!/usr/bin/env python3\nx", ("bash",), own_shell=False) == ("/usr/bin/env", "python3")
    assert interpreter_of("#!/usr/bin/env python3\nx", ("bash", "-e"), own_shell=True) == ("bash", "-e")
    assert interpreter_of("x\n", (), own_shell=False) == ("sh",)
    with pytest.raises(ShellRefused, match="names no interpreter"):
        interpreter_of("#!\nx", (), own_shell=False)
