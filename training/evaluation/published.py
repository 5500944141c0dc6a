"""Published figures beside which ours may be read: Tables 2 and 3 of ELIQ, arXiv 2602.03558.

Copied as printed there; none of them was measured here. The paper's own rows ("Ours" there) are
called ELIQ; its backbone is Qwen3-VL-8B-Instruct. It does not say whether PLCC is raw or after a
fit, which rows of a benchmark were used, or how the rivals were trained.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LABELS", "Published", "published"]

#: The sections of the tables. "some": the paper's own 20 % of the opinions (30 % on photographs);
#: the shares of its rivals are not all given, and Re-IQA's was 70 %.
LABELS = {"none": "none", "some": "weak", "all": "supervised"}

_TABLE_2_SETS = ("agiqa_3k", "aigciqa2023", "aigiqa_20k", "koniq_10k", "spaq")
#: labels, method, then SRCC and PLCC of visual quality on each set
_TABLE_2 = """
all  BRISQUE      0.472 0.561 0.446 0.465 0.466 0.558 0.705 0.707 0.802 0.805
all  HyperIQA     0.850 0.904 0.822 0.852 0.816 0.832 0.904 0.915 0.915 0.918
all  MANIQA       0.861 0.911 0.818 0.847 0.850 0.887 0.930 0.946 0.922 0.927
all  DBCNN        0.826 0.890 0.807 0.829 0.805 0.848 0.844 0.862 0.909 0.927
all  MUSIQ        0.820 0.865 0.803 0.820 0.832 0.864 0.824 0.937 0.873 0.868
all  StairIQA     0.834 0.893 0.808 0.832 0.789 0.842 0.920 0.936 0.923 0.929
all  Q-Align      0.852 0.881 0.841 0.860 0.874 0.889 0.922 0.911 0.887 0.886
all  MA-AGIQA     0.893 0.927 0.853 0.856 0.864 0.905 0.933 0.948 0.927 0.932
some CONTRIQUE    0.817 0.879 0.771 0.789 0.788 0.807 0.894 0.906 0.914 0.919
some Re-IQA       0.811 0.874 0.769 0.789 0.787 0.811 0.914 0.923 0.918 0.925
some CLIP-IQA+    0.844 0.894 0.817 0.835 0.833 0.854 0.895 0.909 0.864 0.866
some ARNIQA       0.803 0.881 0.754 0.764 0.778 0.792 0.869 0.883 0.904 0.909
some GRepQ-D      0.807 0.858 0.767 0.783 0.789 0.810 0.855 0.868 0.903 0.917
some ELIQ         0.876 0.911 0.837 0.851 0.856 0.883 0.912 0.924 0.915 0.925
none NIQE         0.523 0.566 0.511 0.523 0.208 0.337 0.551 0.488 0.703 0.670
none ILNIQE       0.609 0.655 0.594 0.611 0.335 0.455 0.453 0.467 0.719 0.654
none CLIP-IQA     0.638 0.711 0.589 0.604 0.388 0.537 0.695 0.727 0.738 0.735
none MDFS         0.672 0.676 0.659 0.667 0.691 0.695 0.733 0.737 0.741 0.754
none QualiCLIP    0.667 0.735 0.646 0.661 0.679 0.694 0.817 0.838 0.841 0.851
none GRepQ-Z      0.613 0.734 0.602 0.612 0.624 0.634 0.768 0.784 0.823 0.839
none DUBMA        0.684 0.701 0.671 0.680 0.695 0.697 0.703 0.740 0.834 0.841
none ELIQ         0.801 0.827 0.767 0.781 0.786 0.803 0.818 0.831 0.842 0.851
"""

_TABLE_3_SETS = ("agiqa_3k", "aigciqa2023")
#: labels, method, then SRCC and PLCC of alignment on each set
_TABLE_3 = """
some CLIP         0.597 0.683 0.617 0.623
some CLIP-IQA+    0.704 0.738 0.729 0.736
some ImageReward  0.729 0.786 0.749 0.759
some HPSv1        0.634 0.700 0.663 0.674
some PickScore    0.697 0.763 0.716 0.734
some StairReward  0.747 0.852 0.760 0.777
some IPCE         0.770 0.872 0.797 0.788
some ELIQ         0.789 0.881 0.804 0.811
none CLIP         0.428 0.450 0.463 0.474
none CLIP-IQA+    0.501 0.524 0.521 0.538
none ImageReward  0.579 0.607 0.589 0.609
none HPSv1        0.562 0.577 0.597 0.626
none PickScore    0.593 0.622 0.626 0.652
none ELIQ         0.717 0.730 0.712 0.711
"""


@dataclass(frozen=True)
class Published:
    """One row of a published table: `labels` is a key of `LABELS`."""

    method: str
    labels: str
    srcc: float
    plcc: float
    source: str


def published(set_name: str, opinion: str) -> list[Published]:
    """The rows for a benchmark and "quality" or "alignment", as they stand in the paper.

    Fewest labels first, in the paper's order otherwise; none where the paper has no figures.
    """
    table, sets, number = {
        "quality": (_TABLE_2, _TABLE_2_SETS, 2),
        "alignment": (_TABLE_3, _TABLE_3_SETS, 3),
    }[opinion]
    if set_name not in sets:
        return []
    column = 2 + 2 * sets.index(set_name)
    rows = []
    for line in table.strip().splitlines():
        cells = line.split()
        rows.append(
            Published(
                cells[1],
                cells[0],
                float(cells[column]),
                float(cells[column + 1]),
                f"Table {number}",
            )
        )
    return sorted(rows, key=lambda row: list(LABELS).index(row.labels))
