"""Digits to Chinese words: dates, money, telephone numbers, fractions, quantities (spec 03 section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Callable

from acestep_flows.values import Compatibility

_DIGITS = "零一二三四五六七八九"
# Largest first: the power of ten that each unit stands for.
_UNITS = (
    *((44, "载"), (40, "正"), (36, "涧"), (32, "沟"), (28, "穰"), (24, "秭"), (20, "垓"), (16, "京"), (12, "兆")),
    *((8, "亿"), (4, "万"), (3, "千"), (2, "百"), (1, "十")),
)
_TWO = re.compile("(?:(?<=[百千万亿兆京垓秭穰沟涧正载])|^)二(?=[百千万亿兆京垓秭穰沟涧正载])")

_NUMBER = r"\d+(?:\.\d+)?"
# Units such as 百元 need no entry: the multiplier alone is tried first and always matches.
_MONEY_UNIT = "(?:亿|千万|百万|万|千|百|元|块|角|毛|分)"
_MEASURE = (
    "(?:[匹张座回场尾条个首阙阵网炮顶丘棵只支袭辆挑担颗壳窠曲墙群腔砣客贯扎捆刀令打手罗坡山岭江溪钟队单双对出口头脚板跳枝件贴针线管名位身堂"
    "课本页家户层丝毫厘分钱两斤铢石钧锱忽寸尺丈里寻常铺程撮勺合升斗盘碗碟叠桶笼盆盒杯斛锅簋篮罐瓶壶卮盏箩箱煲啖袋钵年月日季刻时周天秒旬纪"
    "岁世更夜春夏秋冬代伏辈丸泡粒幢堆根道面片块]|[千毫微]克|[千分厘毫]米)"
)
_PUNCTUATION = str.maketrans(
    dict.fromkeys(
        "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
        "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃《》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿"
        "–—‘’‛“”„‟…‧﹏·〈〉",
        ",",
    )
)


def spell_chinese_numbers(text: str, compatibility: Compatibility) -> str:
    """Write every number as Chinese words, then turn every punctuation character into a comma.

    Each rule finds all its matches first. Upstream then replaces the first occurrence of the same digits, which may be
    another place (220号 2个 becomes 二二十号 二个). "corrected" replaces the match itself.
    """
    text = f"^{text}$"  # borders, so that "not a digit" matches at the ends
    for pattern, read in _RULES:
        if pattern is _PERCENT:
            text = text.replace("％", "%")
        if compatibility == "upstream":
            for number in [match["number"] for match in pattern.finditer(text)]:
                text = text.replace(number, read(number), 1)
        else:
            text = _replace_matches(text, pattern, read)
    return text.lstrip("^").rstrip("$").translate(_PUNCTUATION)


def cardinal(number: str) -> str:
    """A decimal number in words: "1204" -> 一千二百零四, "0.5" -> 零点五."""
    whole, dot, fraction = number.partition(".")
    spoken = digit_by_digit(whole) if len(whole) == 1 else _magnitude("".join(str(int(digit)) for digit in whole))
    spoken = _TWO.sub("两", spoken)
    if spoken.startswith("一十"):
        spoken = spoken[1:]
    return f"{spoken}点{digit_by_digit(fraction)}" if dot else spoken


def digit_by_digit(number: str) -> str:
    """A code, a year or a telephone number in words, digit by digit; other characters are dropped."""
    return "".join(_DIGITS[int(character)] for character in number if character.isdecimal())


def _magnitude(digits: str) -> str:
    """Digits with their units. Leading zeros are read as one 零; zeros alone are not read."""
    significant = digits.lstrip("0")
    if len(significant) <= 1:
        zero = "零" if len(significant) < len(digits) else ""
        return zero + digit_by_digit(significant) if significant else ""
    power, unit = next(entry for entry in _UNITS if entry[0] < len(significant))
    return _magnitude(digits[:-power]) + unit + _magnitude(digits[-power:])


def _replace_matches(text: str, pattern: re.Pattern[str], read: Callable[[str], str]) -> str:
    pieces, end = [], 0
    for match in pattern.finditer(text):
        start, stop = match.span("number")
        pieces += [text[end:start], read(text[start:stop])]
        end = stop
    return "".join(pieces) + text[end:]


def _date(date: str) -> str:
    year, sign, rest = date.rpartition("年")
    return digit_by_digit(year) + sign + _all_cardinal(rest)


def _all_cardinal(text: str) -> str:
    return re.sub(_NUMBER, lambda number: cardinal(number[0]), text)


def _fraction(fraction: str) -> str:
    numerator, denominator = fraction.split("/")
    return f"{cardinal(denominator)}分之{cardinal(numerator)}"


# "(?<!\d)" makes the search linear. It excludes nothing: no match starts inside a run of digits.
_PERCENT = re.compile(rf"(?<!\d)(?P<number>{_NUMBER}%)")
_RULES: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (
        re.compile(
            r"\D(?P<number>(?:(?:19|20)\d{2}|[089]\d)年(?:\d{1,2}月(?:\d{1,2}[日号])?)?|\d{1,2}月(?:\d{1,2}[日号])?)"
        ),
        _date,
    ),
    (re.compile(rf"\D(?P<number>{_NUMBER}[多余几]?{_MONEY_UNIT}(?:\d{_MONEY_UNIT}?)?)"), _all_cardinal),
    # Mobile numbers, then land lines with an optional area code.
    (
        re.compile(r"\D(?P<number>(?:\+?86 ?)?1(?:[38]\d|5[0-35-9]|7[6-8]|9[89])\d{8})\D"),
        digit_by_digit,
    ),
    (re.compile(r"\D(?P<number>(?:0(?:10|2[1-3]|[3-9]\d{2})-?)?[1-9]\d{6,7})\D"), digit_by_digit),
    (re.compile(r"(?<!\d)(?P<number>\d+/\d+)"), _fraction),
    (_PERCENT, lambda percentage: f"百分之{cardinal(percentage[:-1])}"),
    (re.compile(rf"(?<!\d)(?P<number>{_NUMBER})[多余几]?{_MEASURE}"), cardinal),
    (re.compile(r"(?P<number>\d{4,32})"), digit_by_digit),
    (re.compile(rf"(?P<number>{_NUMBER})"), cardinal),
    # p2p and b2b keep their English two.
    (re.compile(r"(?<![a-zA-Z])(?P<number>[a-zA-Z]+二[a-zA-Z]+)"), lambda word: word.replace("二", "2")),
)
