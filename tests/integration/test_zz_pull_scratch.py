import json
from tests.integration.conftest import *
from tests.integration.services import Service, free_port
from tests.integration.pulling import *
from tests.integration.test_pull_command import cli, address
from tests.instances import save
from tests.rows import rows
def test_move_to_the_real_listener(orthanc, intake_settings, database, tmp_path):
    s=intake_settings.model_copy(update={"listener_port": free_port(), "listener_host":"127.0.0.1"})
    s=Settings(home=s.home,database_url=s.database_url,minimum_free_bytes=0,listener_port=s.listener_port)
    svc=Service("listener","listen",s,tmp_path/"log")
    svc.wait_for("listening")
    orthanc.add_modality("us",ae_title=s.ae_title,port=s.listener_port)
    files=save(tmp_path,*study(40,AccessionNumber="A1")); orthanc.upload(files)
    print(cli(s,"admit","--address","127.0.0.1","ORTHANC"))
    print(cli(s,"pull","--from",address(orthanc),"--by","move","--accession","A1","--attempts","2"))
    print(rows(database,"select count(*), min(calling_ae) from instance"), svc.stop(), (tmp_path/"log").read_text()[-1500:])
