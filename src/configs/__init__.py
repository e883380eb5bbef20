"""The settings: YAML files with every default, the schema that types them, the launcher of the commands."""
