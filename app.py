"""The studio, started as v1's page is: python app.py --checkpoint_path DIR --port 7865 --device_id 0 --bf16."""

import sys

from acestep_flows.cli.main import cli

if __name__ == "__main__":
    cli(["studio", *sys.argv[1:]])
