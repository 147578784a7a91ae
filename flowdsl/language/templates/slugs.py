"""Writes text as a slug: small letters, digits and hyphens.

Production writes any script in ASCII, by a table of some fifty thousand entries. Here are the letters of Latin
and Cyrillic scripts, common punctuation, and the Chinese characters and pictures that names and messages hold
most often, each as that table has it; what else there is fails.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_LATIN = dict(
    zip(
        "ÆÐ×ØÞßæðøþĐđĦħıĸŁłŊŋŒœŦŧ",
        [
            "ae",
            "d",
            "x",
            "o",
            "th",
            "ss",
            "ae",
            "d",
            "o",
            "th",
            "d",
            "d",
            "h",
            "h",
            "i",
            "k",
            "l",
            "l",
            "ng",
            "ng",
            "oe",
            "oe",
            "t",
            "t",
        ],
        strict=True,
    )
)
_CYRILLIC = dict(
    zip(
        "абвгдежзийклмнопрстуфхцчшщыэюяёії",
        [
            "a",
            "b",
            "v",
            "g",
            "d",
            "e",
            "zh",
            "z",
            "i",
            "i",
            "k",
            "l",
            "m",
            "n",
            "o",
            "p",
            "r",
            "s",
            "t",
            "u",
            "f",
            "kh",
            "ts",
            "ch",
            "sh",
            "shch",
            "y",
            "e",
            "iu",
            "ia",
            "io",
            "i",
            "yi",
        ],
        strict=True,
    )
)
_HAN: Final = (
    "王wang 李li 张zhang 刘liu 陈chen 杨yang 赵zhao 黄huang 周zhou 吴wu 徐xu 孙sun 胡hu 朱zhu 高gao 林lin "
    "何he 郭guo 马ma 罗luo 梁liang 宋song 郑zheng 谢xie 韩han 唐tang 冯feng 于yu 董dong 萧xiao 程cheng "
    "曹cao 袁yuan 邓deng 许xu 傅fu 沈chen 曾ceng 彭peng 吕lu 苏su 卢lu 蒋jiang 蔡cai 贾jia 丁ding 魏wei "
    "薛xie 叶xie 阎yan 余yu 潘pan 杜du 戴dai 夏xia 钟zhong 汪wang 田tian 任ren 姜jiang 范fan 方fang 石shi "
    "姚yao 谭tan 廖liao 邹zou 熊xiong 金jin 陆lu 郝hao 孔kong 白bai 崔cui 康kang 毛mao 邱qiu 秦qin 江jiang "
    "史shi 顾gu 侯hou 邵shao 孟meng 龙long 万mo 段duan 雷lei 钱qian 汤tang 尹yin 黎li 易yi 常chang 武wu "
    "乔qiao 贺he 赖lai 龚gong 文wen 伟wei 芳fang 娜nuo 秀xiu 英ying 敏min 静jing 丽li 强qiang 磊lei 军jun "
    "洋yang 勇yong 艳yan 杰jie 娟juan 涛tao 明ming 超chao 兰lan 霞xia 平ping 刚gang 桂gui 华hua 建jian "
    "国guo 玉yu 梅mei 红hong 婷ting 雪xue 玲ling 美mei 云yun 志zhi 海hai 小xiao 大da 日ri 本ben 人ren "
    "中zhong 山shan 川chuan 一yi 三san 上shang 下xia 东dong 京jing 北bei 南nan 西xi 天tian 安an 新xin "
    "春chun 风feng 月yue 花hua "
)
_PICTURES: Final = (
    "🎉tada 😀grinning 😂joy 😍heart-eyes 😊blush 🙏pray 🔥fire 💯100 😭sob ✨sparkles 🎂birthday "
    "🎁gift 🎈balloon 🚀rocket 👋wave 💪muscle 😎sunglasses 🤔thinking 👏clap 💖sparkling-heart "
    "🌹rose 🌈rainbow 🐶dog 🐱cat 🍕pizza ☕coffee 🍺beer 📷camera 📣mega 💬speech-balloon "
    "✅white-check-mark ❌x ⚠warning 🔔bell 👀eyes 🙌raised-hands "
)
_SPELLED: Final = {
    **_LATIN,
    **_CYRILLIC,
    **{letter.upper(): spelling for letter, spelling in _CYRILLIC.items()},
    # these are words of their own
    **{word[0]: word[1:] + " " for word in (_HAN + _PICTURES).split()},
    **dict.fromkeys("‐–—‘’“”„‚…«»¿¡·•", "-"),
}


def slug(text: str) -> str | None:
    """The slug of a text, or None where a letter's spelling is not known here.

    >>> slug("Crème Brûlée, à la carte")
    'creme-brulee-a-la-carte'
    """
    out: list[str] = []
    for letter in text:
        spelled = letter if letter.isascii() else _SPELLED.get(letter) or _without_accents(letter)
        if spelled is None:
            return None
        for char in spelled:
            if char.isalnum():
                out.append(char.lower())
            elif out and out[-1] != "-":
                out.append("-")
    return "".join(out).rstrip("-")


def _without_accents(letter: str) -> str | None:
    if not (letter < "\u0250" or "\u1e00" <= letter < "\u1f00"):
        return None
    bare = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return bare if bare and bare.isascii() else None
