from headstart.networks.build import fresh_backbone as fresh_backbone
from headstart.networks.build import new_head as new_head
from headstart.networks.network import Network as Network
from headstart.networks.network import NetworkError as NetworkError
from headstart.networks.network import block_names as block_names
from headstart.networks.network import every_block as every_block
