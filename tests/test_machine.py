import pytest

from medcli import machine


def test_a_quota_counts_as_whole_cores(tmp_path):
    quota = tmp_path / "cpu.max"
    quota.write_text("150000 100000\n")
    assert machine._quota(quota) == 2
    quota.write_text("max 100000\n")
    assert machine._quota(quota) is None
    assert machine._quota(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("flags", "cap", "fast"),
    [
        ({"avx2"}, "", False),
        ({"avx2", "avx512_bf16"}, "", True),
        ({"avx2", "amx_bf16"}, "AVX512_CORE_AMX", True),
        ({"avx2", "amx_bf16"}, "AVX512_CORE", False),
    ],
)
def test_bfloat16_is_used_only_where_it_is_fast(monkeypatch, flags, cap, fast):
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap or "ALL")
    assert machine.cpu_has_bf16() is fast


def test_this_machine_has_something():
    assert machine.cpu_cores() >= 1
    assert machine.memory_bytes() > 2**28
    assert machine.cpu_name()
