"""Pictures of trees are what mermaid and Graphviz read."""

from tractor.devx._graph import Branch, dot, mermaid, outline

TREE = [Branch("top", [Branch('says "<hi>"'), Branch("b", [Branch("c\\d")])])]


def test_an_outline_is_indented_by_level() -> None:
    """Two spaces for each."""
    assert list(outline(TREE)) == ["top", '  says "<hi>"', "  b", "    c\\d"]


def test_a_label_stays_in_its_line() -> None:
    """Whatever a program or a person has put into a command line."""
    [line] = outline([Branch("sh -c one\ntwo\x1b[31m caf\udce9 Käfer")])
    assert line == r"sh -c one\ntwo\x1b[31m caf\udce9 Käfer"
    assert mermaid([Branch("a\nb")]).splitlines()[1:] == [r'    n0["a\nb"]']
    assert dot([Branch("a\nb")]).splitlines()[2:-1] == [r'    n0 [label="a\\nb"];']


def test_mermaid_gets_nodes_arrows_and_escapes() -> None:
    """What would end a label or be read as HTML is an entity."""
    assert mermaid(TREE).splitlines() == [
        "flowchart TD",
        '    n0["top"]',
        '    n1["says #34;#60;hi#62;#34;"]',
        "    n0 --> n1",
        '    n2["b"]',
        "    n0 --> n2",
        '    n3["c\\d"]',
        "    n2 --> n3",
    ]


def test_dot_gets_nodes_arrows_and_escapes() -> None:
    """Quotes and backslashes are escaped."""
    assert dot(TREE).splitlines() == [
        "digraph tractor {",
        "    node [shape=box];",
        '    n0 [label="top"];',
        '    n1 [label="says \\"<hi>\\""];',
        "    n0 -> n1;",
        '    n2 [label="b"];',
        "    n0 -> n2;",
        '    n3 [label="c\\\\d"];',
        "    n2 -> n3;",
        "}",
    ]
