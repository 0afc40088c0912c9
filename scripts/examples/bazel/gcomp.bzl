"""gcomp_graph(): a cc_library of a compiled graph."""

def _compile_impl(ctx):
    artifact = ctx.actions.declare_file(ctx.attr.library + ".o")
    header = ctx.actions.declare_file(ctx.attr.library + ".h")
    ctx.actions.run(
        executable = ctx.executable.gcomp,
        arguments = [
            ctx.file.graph.path,
            "-o",
            artifact.path,
            "--header",
            header.path,
            "--emit=obj",
            "--name",
            ctx.attr.library,
        ] + ctx.attr.options,
        # Actions see only what is named here, so files of weights beside the graph must be, too.
        inputs = [ctx.file.graph] + ctx.files.weights,
        outputs = [artifact, header],
        mnemonic = "GcompGraph",
        progress_message = "Compiling graph " + ctx.file.graph.path,
    )
    return [
        DefaultInfo(files = depset([artifact, header])),
        OutputGroupInfo(object = depset([artifact]), header = depset([header])),
    ]

gcomp_compile = rule(
    implementation = _compile_impl,
    attrs = {
        "graph": attr.label(allow_single_file = [".onnx", ".json", ".gcb"], mandatory = True),
        "weights": attr.label_list(allow_files = True),
        "library": attr.string(mandatory = True),
        "options": attr.string_list(),
        "gcomp": attr.label(default = "@gcomp//:gcomp", executable = True, cfg = "exec", allow_single_file = True),
    },
)

def gcomp_graph(name, graph, weights = [], options = [], **kwargs):
    """Compiles a graph; who depends on it includes "NAME.h" and makes a NAME::Model.

    Args:
      name: of the cc_library: a C identifier.
      graph: an ONNX, JSON or binary graph.
      weights: files of weights that it names, in its folder.
      options: of gcomp.
      **kwargs: of the cc_library.
    """
    files = name + "_files"
    gcomp_compile(name = files, graph = graph, weights = weights, library = name, options = options)
    for group in ["object", "header"]:
        native.filegroup(name = name + "_" + group, srcs = [files], output_group = group)
    native.cc_library(
        name = name,
        srcs = [name + "_object"],
        hdrs = [name + "_header"],
        includes = ["."],
        linkopts = ["-lm"],
        deps = ["@gcomp//:runtime"],
        **kwargs
    )
