"""Texts in several scripts, written for these tests: what tokenizers stumble over."""

import random

ENGLISH = """The quick brown fox doesn't jump; it's asleep. We've said so, they'll hear it, and I'd agree (10:45 a.m.).
"Never!" cried the owl — twice. Prices rose from $1,999.95 to £2,050, i.e. by 2.5%.
A well-known e-mail address: someone@example.org. Don't, can't, won't, SHAN'T; 'tis true, y'all.
Antidisestablishmentarianism is longer than un-believ-able. THE END..."""

FRENCH = """Où êtes-vous né ? À Noël, l'été dernier, j'ai aperçu un garçon naïf près de l'hôpital.
« Ça alors ! » s'écria-t-elle : le cœur de l'œuvre coûte 12,50 €. Aujourd'hui, qu'importe l'âge ?
Cafe\u0301 décomposé, café composé; l’apostrophe courbe; ÉTÉ, Île, Ÿ."""

CODE = """def fib(n: int) -> int:
\tif n < 2:
\t\treturn n
    return fib(n-1) + fib(n-2)  # 2**n calls!
for(i=0;i<=10;++i){a[i]^=0xFF&~b[i]>>3;}
SELECT * FROM "t" WHERE x != 'it''s' AND y LIKE '%\\_%';
<p class="a b">&nbsp;&lt;tag&gt;</p>\r\n\r\n{"k": [1, 2.5e-3, null]}
snake_case camelCase SCREAMING_CASE __init__ λ = lambda x: x"""

EMOJI = """Good morning ☀️ 👋🏽 my friends 👨‍👩‍👧‍👦! Flags: 🇫🇷🇯🇵 and 🏴󠁧󠁢󠁳󠁣󠁴󠁿; 5️⃣ keycaps, ❤️‍🔥 hearts.
🙂🙃🙂🙃 😀text😀without😀spaces ¯\\_(ツ)_/¯ ⅷ ½ x² ①"""

RIGHT_TO_LEFT = """مرحبا بالعالم! كيف حالك اليوم؟ العدد ١٢٣ والنسبة ٥٠٪.
שלום עולם, מה שלומך? הַמְּנֻקָּד בְּנִיקוּד. English בתוך עברית 123.
\u202bمعلّم\u202c \u200fabc\u200e ـــ"""

OTHERS = """नमस्ते दुनिया, आप कैसे हैं? हिन्दी में १२३।
東京は日本の首都です。我爱北京天安门!한국어 텍스트도 있다.
Привет, мир! Ёлка и йод. Ελληνικά: ΣΊΣΥΦΟΣ, σίσυφος. Tiếng Việt có dấu. İstanbul'da ılık ışık; Straße, ﬁn, Ǆ.
ไทยไม่มีช่องว่าง ქართული አማርኛ"""

SPACES = [
    "",
    " ",
    "  ",
    "\n",
    " a",
    "a ",
    "  a  b   c    ",
    "\t\n x\r\ny\n\n\nz ",
    "a\u00a0b\u2009c\u3000d\u2028e",
    "\x00a\x07b\ufffd",
]

TEXTS = [
    *(whole for whole in (ENGLISH, FRENCH, CODE, EMOJI, RIGHT_TO_LEFT, OTHERS)),
    *(line for whole in (ENGLISH, FRENCH, CODE, EMOJI, RIGHT_TO_LEFT, OTHERS) for line in whole.splitlines()),
    *SPACES,
    "a" * 300,
    "ab" * 150 + " " + "é" * 120,
]

TRAINING = [ENGLISH, FRENCH, CODE, RIGHT_TO_LEFT, EMOJI, OTHERS]


def shuffled(n: int, size: int = 40) -> list[str]:
    """Texts of the characters above in a random order: combinations that nobody would write."""
    rng = random.Random(0)
    characters = sorted({character for text in TEXTS for character in text})
    return ["".join(rng.choices(characters, k=rng.randint(1, size))) for _ in range(n)]
