"""The binary form of a CSV, byte by byte, and what is left to the text way. No server: see the integration tests."""

from __future__ import annotations

import re
import struct
from datetime import date, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from random import Random

import pytest

from shared.binary.eligibility import NotEncodable
from shared.binary.encoder import BLOCK_BYTES, BinaryRows, reason_in_sample
from shared.csvfile.options import CsvOptions
from tests.binary_values import TYPES
from tests.integration.fix_binary import columns_of, in_binary

HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
TRICKY = b'c0,c1,c2\r\n1,"a ""b"", c",0.5\r\n-2,,\r\n3,"","1e5"\r\n,"two\r\nlines",NaN\r\n5,x,"7"'


def binary(types: list[str], *lines: str, options: CsvOptions | None = None) -> bytes:
    """The values of lines without a header, without what stands around a row."""
    encoded = in_binary(columns_of(types), options or CsvOptions(header=False), ["\n".join(lines).encode()])
    assert encoded is not None
    assert encoded[1] == len(lines)
    assert encoded[0].startswith(HEADER)
    assert encoded[0].endswith(TRAILER)
    return encoded[0][len(HEADER) : -len(TRAILER)]


def row(*values: bytes | None) -> bytes:
    fields = [struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values]
    return struct.pack(">h", len(values)) + b"".join(fields)


def last_values(type_: str, size: int, *values: str) -> list[bytes]:
    """What a column of values of one length becomes."""
    data = binary([type_, "boolean"], *(f"{value},t" for value in values))
    return [data[start + 6 : start + 6 + size] for start in range(0, len(data), size + 11)]


def test_bytes_of_a_small_file() -> None:
    encoded = binary(["smallint", "text", "timestamp with time zone"], "-7,,2000-01-02 00:00:01.5+01", '3,"",')
    time = struct.pack(">q", (86_400 + 1) * 1_000_000 + 500_000 - 3_600 * 1_000_000)
    assert encoded == row(b"\xff\xf9", None, time) + row(b"\0\3", b"", None)


@pytest.mark.parametrize("cut", range(len(TRICKY) + 1))
def test_the_same_wherever_the_file_is_cut(cut: int) -> None:
    columns, options = columns_of(["integer", "text", "double precision"]), CsvOptions()
    whole = in_binary(columns, options, [TRICKY])
    assert whole is not None
    assert whole[1] == 5
    rows = BinaryRows(columns, options)
    # Two pieces at a time, as if a block ended there.
    first, rest = rows.encode_whole_records(TRICKY[:cut]) if cut else (b"", b"")
    second, rest = rows.encode_whole_records(rest + TRICKY[cut:] + b"\r\n")
    assert (HEADER + first + second + rows.end(), rest, rows.rows) == (whole[0], b"", 5)


def test_a_file_longer_than_a_block() -> None:
    values = [f"{number} " + "ä,\n" * (number % 50) for number in range(40_000)]
    data = "".join(f'{number},"{value}"\n' for number, value in enumerate(values)).encode()
    assert len(data) > 2 * BLOCK_BYTES
    encoded = in_binary(columns_of(["integer", "text"]), CsvOptions(header=False), [data[:7], data[7:99], data[99:]])
    expected = b"".join(row(struct.pack(">i", number), value.encode()) for number, value in enumerate(values))
    assert encoded == (HEADER + expected + TRAILER, len(values))


@pytest.mark.parametrize(
    "text", ['"a ""b"""', '""', '"a\n"', '"""a"', 'a"b', 'ab"', 'a""b', '"a"b"c"', '""a""b', 'a"",']
)
def test_quotes_in_a_block_are_judged_alike_whatever_the_block_before_held(text: str) -> None:
    columns, options = columns_of(["integer", "text"]), CsvOptions(header=False)
    plain, quoted, last = b"1,x\n", b'2,"c ""d"""\n', f'3,{text}\n4,"d"\n5,'.encode()
    found: list[tuple[int, bytes, bytes] | None] = []
    for blocks in (
        [plain + quoted + last],
        [plain, quoted + last],
        [plain + quoted, last],
        [plain, quoted, last],
        [plain + quoted[:-2], quoted[-2:] + last],
    ):
        rows, rest, sent = BinaryRows(columns, options), b"", []
        try:
            for block in blocks:
                encoded, rest = rows.encode_whole_records(rest + block)
                sent.append(encoded)
            found.append((rows.rows, b"".join(sent) + rows.end(), rest))
        except NotEncodable:
            found.append(None)
    assert all(one == found[0] for one in found)
    is_well_quoted = text[0] == '"' and text[-1] == '"' and text.count('"') % 2 == 0 and text != '"a"b"c"'
    assert (found[0] is not None and found[0][::2] == (4, b"5,")) is is_well_quoted


@pytest.mark.parametrize("data", [b"", b"c0,c1\n", b"c0,c1\r\n"])
def test_no_rows(data: bytes) -> None:
    assert in_binary(columns_of(["text", "text"]), CsvOptions(), [data]) == (HEADER + TRAILER, 0)


@pytest.mark.parametrize(
    "data",
    [
        "c0,c1\n1,secret\n2\n",
        "c0,c1\n1,secret,3\n",
        "c0,c1\n1,secret\n\n",
        "c0,c1\n1,secret\r\n",
        "c0,c1\r\n1,secret\n",
        "c0,c1\r1,secret\r",
        'c0,c1\n1,sec"ret"\n',
        'c0,c1\n1,"sec"r"et"\n',
        'c0,c1\n1,sec""ret\n',
        '"c0",c1\n1,"""sec"ret"\n',
        "c0,c1\n\n1,secret\n",
        "c0,c1\n\ufeff1,secret\n",
        "c0,c1\r\n\ufeff1,secret\n2,b\n3,c\n4,d\r\n",
        "c0,c1\r\n\ufeff1,secret\r2,b\n3,c\n",
        'c0,c1\n1,"secret\n',
        "c0,c1\n1,sec\0ret\n",
        "c0,c1\nsecret,1\n",
        "c0,c1\n1 ,secret\n",
        "c0,c1\n+1,secret\n",
        "c0,c1\n0x1F,secret\n",
        "c0,c1\n1_000,secret\n",
        "c0,c1\n2147483648,secret\n",
        "c0,c1\n1,secret",
        'c0,"c1',
        "no line end",
    ],
)
def test_what_is_left_to_the_text_way(data: str) -> None:
    rows = BinaryRows(columns_of(["integer", "text"]), CsvOptions())
    if data == "c0,c1\n1,secret":
        assert list(rows.encode([data.encode()]))[-1].endswith(TRAILER)  # the last line needs no end
        return
    with pytest.raises(NotEncodable) as caught:
        list(rows.encode([data.encode()]))
    # It goes to the server, whose log must not show rows.
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (CsvOptions(header=False), row(None, b"") + row(b"", None)),
        (CsvOptions(header=False, force_null=("*",)), row(None, None) * 2),
        (CsvOptions(header=False, force_not_null=("*",)), row(b"", b"") * 2),
        (CsvOptions(header=False, force_null=("*",), force_not_null=("*",)), row(b"", None) + row(None, b"")),
        (CsvOptions(header=False, force_null=("c1",)), row(None, None) + row(b"", None)),
        (CsvOptions(header=False, force_not_null=("c0",)), row(b"", b"") + row(b"", None)),
        (CsvOptions(header=False, null="NULL"), row(b"", b"") * 2),
    ],
)
def test_what_is_null(options: CsvOptions, expected: bytes) -> None:
    assert binary(["text", "text"], ',""', '"",', options=options) == expected


@pytest.mark.parametrize(
    ("data", "goes"),
    [
        (b'"a",\\b\n', False),
        (b'"a\\b",c\n', False),
        (b'"a""b",c\n', False),
        (b'"",c\n', True),
        (b'"a,",c\n', True),
        (b"a,\\b\n", True),
    ],
)
def test_quotes_and_another_escape(data: bytes, goes: bool) -> None:
    options = CsvOptions(header=False, escape="\\")
    assert (in_binary(columns_of(["text", "text"]), options, [data]) is not None) == goes


@pytest.mark.parametrize("data", [b"a,b\r\nc,d\re\n", b"a,b\r\nc,d\r", b"a,b\nc,\rd\n", b"a,b\rc,d\n", b"a,b\r"])
def test_a_carriage_return_alone(data: bytes) -> None:
    assert in_binary(columns_of(["text", "text"]), CsvOptions(header=False), [data]) is None


def test_a_quote_that_is_a_digit() -> None:
    """It could stand in a number, where no reader refuses it."""
    options = CsvOptions(header=False, quote="1", delimiter=";", null="N")
    assert in_binary(columns_of(["numeric(5,2)", "real"]), options, [b"\xef\xbb\xbfN;1111\nN;1115111\n"]) is None
    assert in_binary(columns_of(["integer", "integer"]), options, [b"2;3\n213;4\n"]) is None
    assert in_binary(columns_of(["integer", "integer"]), options, [b"2;3\n"]) is not None


def test_a_header_that_is_not_utf8() -> None:
    assert in_binary(columns_of(["text", "text"]), CsvOptions(), [b"c0,\xff\n"]) is None


def test_a_very_long_record() -> None:
    blocks = [b'a,"', *([b"x" * BLOCK_BYTES] * 5), b'"\n']
    assert in_binary(columns_of(["text", "text"]), CsvOptions(header=False), blocks) is None
    assert in_binary(columns_of(["text", "text"]), CsvOptions(header=False), [*blocks[:4], b'"\n']) is not None


def test_the_beginning_shows_an_obstacle() -> None:
    columns = columns_of(["integer", "date"])
    assert reason_in_sample(columns, CsvOptions(), b"c0,c1\n1,2025-01-01\n2,01/02/2025") is None
    assert reason_in_sample(columns, CsvOptions(), b"c0,c1\n1,2025-01-01\n2,01/02/2025\n") == "not a plain date"
    assert reason_in_sample(columns, CsvOptions(), b"c0,c1") is None


DATE = rb"[0-9]{4}-(0[1-9]|1[012])-(0[1-9]|[12][0-9])"
# A value of each type, and what else may stand in its place.
GRAMMARS = {
    "integer": (b"12345678", rb"-?[0-9]+"),
    "bigint": (b"1034567890123456789", rb"-?[0-9]+"),
    "double precision": (b"1234.56789012345678", rb"[+-]?[0-9]+(\.[0-9]+)?"),
    "numeric(15,9)": (b"12345.678901234", rb"-?[0-9]+(\.[0-9]+)?"),
    "date": (b"2011-11-11", DATE),
    "timestamp with time zone": (
        b"2011-11-11 11:11:11.111111+11:11",
        DATE + rb"[ T]([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{6}[+-](0[0-9]|1[0-5]):[0-5][0-9]",
    ),
    "uuid": (b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "boolean": (b"true", rb"[tT]rue"),
}


@pytest.mark.parametrize("zones", [("", ""), ("+02", "-09:30"), ("Z", "+00"), ("-09:30", "Z")])
def test_zones_may_differ_from_row_to_row(zones: tuple[str, str]) -> None:
    ahead = {"+02": 2 * 3_600, "-09:30": -34_200}
    expected = [struct.pack(">q", -ahead.get(zone, 0) * 1_000_000) for zone in zones]
    times = [f"2000-01-01 00:00:00{zone}" for zone in zones]
    assert last_values("timestamp with time zone", 8, *times) == expected


GOOD_ZONES = ["Z", "+00", "+15", "-15", "+15:59", "-15:59", "+00:00"]
BAD_ZONES = ["+16", "-16", "+16:00", "+99", "+0130", "+1", "z", " UTC", "+00+00"]
GOOD_BODIES = ["2000-01-01 00:00:00", "2000-01-01T00:00:00", "2000-01-01 00:00:00.5", "0001-01-03 00:00:00"]
BAD_BODIES = [
    *("2000-01-01", "2000-01-01 00:00", "2000-01-01 12", "2000-01-01_00:00:00", "2000/01/01 00:00:00", "infinity"),
    *("0000-01-01 00:00:00", "2000-01-01 00.00.00", "20000-01-01 00:00:00", "2000-01-01 00:00:00.1234567"),
]


@pytest.mark.parametrize("zone", ["", *GOOD_ZONES, *BAD_ZONES])
def test_a_time_is_judged_alike_among_times_of_its_length_and_of_others(zone: str) -> None:
    type_ = "timestamp with time zone" if zone else "timestamp without time zone"
    columns, options = columns_of([type_, "boolean"]), CsvOptions(header=False)
    for body in (*GOOD_BODIES, *BAD_BODIES):
        odd, others = f"{body}{zone}", [f"2000-01-01 00:00:00{zone}", f"2000-01-01 00:00:00.25{zone}"]
        expected = body in GOOD_BODIES and zone not in BAD_ZONES
        for beside in ([odd, odd], [odd, "", odd], *([other, "", odd] for other in others)):
            data = "".join(f"{time},t\n" for time in beside).encode()
            assert (in_binary(columns, options, [data]) is not None) is expected, beside


@pytest.mark.parametrize("type_", GRAMMARS)
def test_no_byte_is_taken_for_another_one(type_: str) -> None:
    value, grammar = GRAMMARS[type_]
    columns, options = columns_of([type_, "boolean"]), CsvOptions(header=False)
    taken, allowed = set(), set()
    for place in {*range(0, len(value), 3), len(value) - 1}:
        for byte in set(range(256)) - set(b',"'):
            changed = value[:place] + bytes([byte]) + value[place + 1 :]
            if in_binary(columns, options, [changed + b",t\n"]) is not None:
                taken.add(changed)
            if re.fullmatch(grammar, changed):
                allowed.add(changed)
    assert taken == allowed
    assert value in taken


def test_days_of_the_calendar() -> None:
    # Its whole period of 400 years, and both ends.
    numbers = [*range(-730_119, -729_000), *range(-40_000, 110_000), *range(2_921_000, 2_921_940)]
    days = [date(2000, 1, 1) + timedelta(days=number) for number in numbers]
    assert (days[0], days[-1]) == (date.min, date.max)
    assert last_values("date", 4, *map(date.isoformat, days)) == [struct.pack(">i", number) for number in numbers]


def halves(chance: Random, bits: int, exponents: range) -> str:
    """A decimal number at the middle of two binary ones of so many bits, or so near that 19 digits hardly tell."""
    half = Fraction(chance.getrandbits(bits) << 1 | 1 | 2 << bits) / 2 ** chance.choice(exponents)
    places = chance.randint(0, 18)
    digits = f"{round(half * 10**places) + chance.randint(0, 2):0{places + 1}}"
    return digits[:-places] + "." + digits[-places:] if places else digits


def test_doubles_are_rounded_once() -> None:
    chance = Random(1)  # noqa: S311 - the same numbers every time
    values = [halves(chance, 52, range(1, 60)) for _ in range(20_000)]
    expected = [struct.pack(">d", float(value)) for value in values]
    assert last_values("double precision", 8, *values) == expected


def numeric_in(data: bytes) -> Decimal:
    """The number that `numeric_recv` in PostgreSQL's numeric.c reads."""
    count, weight, sign, _ = struct.unpack(">hhHh", data[:8])
    digits = struct.unpack(f">{count}h", data[8 : 8 + 2 * count])
    value = sum((digit * Decimal(10000) ** (weight - place) for place, digit in enumerate(digits)), Decimal(0))
    return -value if sign else value


def any_numeric(chance: Random) -> str:
    digits = "".join(chance.choices("0009123456789", k=chance.randint(1, 60)))
    point = chance.randint(1, len(digits))
    behind = digits[point:] + chance.choice(["", "0" * chance.randint(0, 40)])
    return chance.choice(["", "-"]) + digits[:point] + ("." + behind if behind else "")


@pytest.mark.parametrize("size", ["12,6", "10,2", "38,20", "38,0", "38,38", "9,3"])
def test_numerics_are_exactly_as_written(size: str) -> None:
    """Arrow alone reads some of these as 0 or anything: they run over, or have more digits than it has powers."""
    chance = Random(size)  # noqa: S311
    digits, behind = map(int, size.split(","))
    odd = ["61.719999999999998863131622783839702606201171875", "7461829204576983144", "9" * 39, "9" * 400]
    odd += ["340282366920938463463374607431768211457", "0.56802366030942596449210044781744241689103"]
    odd += ["1e3", "1."]
    taken = 0
    with localcontext() as context:
        context.prec = 500
        for value in [*odd, *(any_numeric(chance) for _ in range(2_000))]:
            columns = columns_of([f"numeric({size})", "boolean"])
            encoded = in_binary(columns, CsvOptions(header=False), [f"{value},t\n".encode()])
            if encoded is None:
                continue
            taken += 1
            data = encoded[0][len(HEADER) + 6 : -len(TRAILER) - 5]
            assert numeric_in(data) == Decimal(value), value
            assert abs(Decimal(value)) < Decimal(10) ** (digits - behind)
            assert Decimal(value) == round(Decimal(value), behind)
    assert taken > 5


@pytest.mark.parametrize("empty", [2, 3])
@pytest.mark.parametrize("type_", sorted(set(TYPES) - {"json"}))
def test_a_block_of_nulls(type_: str, empty: int) -> None:
    assert binary([type_, "text"], *[",x"] * empty) == row(None, b"x") * empty


@pytest.mark.parametrize("line", [b"\n", b'""\n', b'"\n"\n'])
def test_a_record_of_very_many_lines(line: bytes) -> None:
    data = b'a,"' + line * (1_500_000 // len(line)) + b'",b\n'
    assert in_binary(columns_of(["text", "text", "text"]), CsvOptions(header=False), [data]) is None
    with_header = in_binary(columns_of(["text", "text"]), CsvOptions(), [b'a,"' + line * 700_000 + b'"\n1,2\n'])
    assert with_header is None


def nearest_real(value: Fraction) -> float:
    """The nearest float of 24 bits, by exact arithmetic; of two that are as near, the even one."""
    near = struct.unpack(">i", struct.pack(">f", float(value)))[0]
    reals: list[tuple[Fraction, int, float]] = []
    for bits in range(max(near - 1, 0), near + 2):
        real = struct.unpack(">f", struct.pack(">i", bits))[0]
        reals.append((abs(Fraction(real) - value), bits % 2, real))
    return min(reals)[2]


def test_reals_are_rounded_once() -> None:
    chance = Random(2)  # noqa: S311
    values = [halves(chance, 23, range(-20, 40)) for _ in range(2_000)]
    assert last_values("real", 4, *values) == [struct.pack(">f", nearest_real(Fraction(value))) for value in values]
