"""An execution platform whose actions run on the server of .buckconfig."""

def _remote_platform_impl(ctx):
    configuration = ConfigurationInfo(constraints = {}, values = {})
    platform = ExecutionPlatformInfo(
        label = ctx.label.raw_target(),
        configuration = configuration,
        executor_config = CommandExecutorConfig(
            local_enabled = False,
            remote_enabled = True,
            use_limited_hybrid = False,
            remote_execution_properties = {"OSFamily": "linux"},
            remote_execution_use_case = "buck2-default",
            remote_output_paths = "output_paths",
        ),
    )
    return [DefaultInfo(), ExecutionPlatformRegistrationInfo(platforms = [platform])]

remote_platform = rule(impl = _remote_platform_impl, attrs = {})
