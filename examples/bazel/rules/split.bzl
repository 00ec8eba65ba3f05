"""Rules whose outputs are a folder, and links."""

def _split_impl(ctx):
    folder = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        inputs = [ctx.file.src],
        outputs = [folder],
        arguments = [ctx.file.src.path, folder.path],
        command = """
            mkdir -p "$2/deep/er" "$2/empty"
            while read -r line; do
              echo "$line" >> "$2/${line##* }.txt"
            done < "$1"
            cp "$1" "$2/deep/er/all.txt"
        """,
        mnemonic = "Split",
    )
    return [DefaultInfo(files = depset([folder]), runfiles = ctx.runfiles([folder]))]

split = rule(
    implementation = _split_impl,
    attrs = {"src": attr.label(allow_single_file = True, mandatory = True)},
    doc = "Sorts lines into one file per last word. Nobody knows the names before the action ran.",
)

def _join_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".txt")
    folder = ctx.files.folder[0]
    ctx.actions.run_shell(
        inputs = [folder],
        outputs = [out],
        arguments = [folder.path, out.path],
        command = 'cat "$1"/*.txt | sort > "$2"',
        mnemonic = "Join",
    )
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

join = rule(
    implementation = _join_impl,
    attrs = {"folder": attr.label(mandatory = True)},
    doc = "Reads every file at the top of a folder that another action made.",
)

def _linked_impl(ctx):
    real = ctx.actions.declare_file(ctx.label.name + ".real")
    link = ctx.actions.declare_file(ctx.label.name + ".link")
    folder = ctx.actions.declare_directory(ctx.label.name + ".d")
    ctx.actions.run_shell(
        outputs = [real, link, folder],
        arguments = [real.path, link.path, folder.path],
        command = """
            echo linked > "$1"
            ln -s "$(basename "$1")" "$2"
            mkdir -p "$3/inner"
            echo inside > "$3/inner/file"
            ln -s inner/file "$3/to_file"
        """,
        mnemonic = "Linked",
    )
    return [DefaultInfo(files = depset([real, link, folder]), runfiles = ctx.runfiles([real, link, folder]))]

linked = rule(
    implementation = _linked_impl,
    doc = "An output that is a link to another output, and a folder with a link inside.",
)
